/// The output rail on text that is still being written: nothing is released that was not checked.
///
/// Pieces may arrive in any sizes, or all at once: the checks are the same, and so is the verdict. A score over the threshold
/// holds the text back; a later check that reads all of it again may clear it, and the end confirms it. A score over the hard
/// threshold stops the answer at once. It knows no engine: pieces come in, checked text goes out.

/// What a piece of an answer leads to.
public enum StreamEvent: Sendable {
    /// Checked text, and how many characters (code points) of the answer, as the model wrote it, are shown with it.
    case released(text: Text, end: Int, verdict: Verdict)
    /// The end of an answer that must not go on: show the verdict's message. `keep` characters of what was shown stay.
    case stopped(keep: Int, verdict: Verdict)

    /// What the answer so far comes to; the last one's is the whole answer's.
    public var verdict: Verdict {
        switch self {
        case .released(_, _, let verdict), .stopped(_, let verdict): return verdict
        }
    }
}

/// The state of one answer. Places are counted from where `text` begins; `base` is where that is in the answer.
public final class OutputRail {
    struct Limits: Sendable {
        let mostHeld, mostChecks, context, buffer: Int

        init(_ tables: Part) throws {
            (mostHeld, mostChecks) = (try tables["most_held"].int(), try tables["most_checks"].int())
            (context, buffer) = (try tables["context"].int(), try tables["buffer"].int())
        }
    }

    /// True once the answer is stopped.
    public private(set) var over = false
    private let judge: Guard
    private let prompt: Text
    private let checkpoints: Checkpoints
    private let limits: Limits
    private var text = Text()
    private var base = 0
    private var scanner: Scanner
    private var cleared = 0, released = 0, shown = 0, keep = 0
    private var passed: [Verdict] = [], held: [Verdict] = []
    private var findings: [Finding] = []
    private var passing: Verdict?
    private var spent = Duration.zero
    private var started = ContinuousClock.now

    init(_ judge: Guard, prompt: Text) {
        (self.judge, self.prompt) = (judge, prompt)
        (checkpoints, limits) = (judge.checkpoints, judge.streamLimits)
        scanner = Scanner(judge.checkpoints)
    }

    /// Take the next piece and return what it leads to.
    public func feed(_ piece: Text) -> [StreamEvent] { step(piece, final: false) }

    /// Take the end of the answer and return what it leads to.
    public func finish() -> [StreamEvent] { step([], final: true) }

    private func step(_ piece: Text, final: Bool) -> [StreamEvent] {
        started = .now
        var events: [StreamEvent] = []  // what was released before a failure was released
        do {
            text += piece
            try advance(final, &events)
            forget()
        } catch {
            // Fail closed: no failure of any library may let a text through.
            events.append(stop(judge.refusal(.output, error)))
        }
        spent += ContinuousClock.now - started
        return events
    }

    private func advance(_ final: Bool, _ events: inout [StreamEvent]) throws {
        while passing == nil, !over, let place = scanner.next(text, final: final) { try check(place, &events) }
        let isLeft = released < text.count
        if let passing, isLeft {
            scanner.at = text.count
            events.append(show(text.count, text.slice(released, text.count), passing))
        } else if final, !held.isEmpty, !over {
            events.append(stop(try Verdict.worst(held)))
        } else if final, isLeft, !over {
            try release(text.count, final: true, &events)
        }
    }

    private func check(_ place: Int, _ events: inout [StreamEvent]) throws {
        guard scanner.found <= limits.mostChecks else { throw GuardError("the answer is too long to be checked whole") }
        // Whatever is held back is read again, whole: only a check that reads it can clear it.
        let start = min(checkpoints.excerptStart(text, place), cleared)
        var seen = try judge.judgeAnswer(prompt, text.slice(start, place))
        seen.span = (seen.span.start + base + start, seen.span.end + base + start)
        if seen.isBlocked {
            held.append(seen)
            if seen.hard || held.count >= limits.mostHeld { events.append(stop(try Verdict.worst(held))) }
        } else {
            held = []
            cleared = place
            passed.append(seen)
            try release(place, final: false, &events)
        }
    }

    /// Release the text up to a place, but not an end of it that may become a finding with what comes next.
    private func release(_ place: Int, final: Bool, _ events: inout [StreamEvent]) throws {
        let policy = judge.policy
        var (said, end, found) = (text.slice(released, place), place, [Finding]())
        if policy.piiOutput != .allow {
            (end, found) = settled(place, final)
            said = text.slice(released, end)
        }
        if !found.isEmpty {
            let at = base + released
            let placed = found.map { Finding(kind: $0.kind, start: $0.start + at, end: $0.end + at) }
            let seen = try judge.judgePii(.output, placed)
            if seen.isBlocked {
                events.append(stop(seen))
                return
            }
            if policy.piiOutput == .redact && !policy.shadow { said = redact(said, found) }
            findings += seen.findings
            passed.append(seen)
        }
        let verdict = try Verdict.worst(passed)
        passed = [verdict]
        if end == place, place < text.count, checkpoints.endsSentence(text, place) { keep = shown + said.count }
        events.append(show(end, said, outside(verdict)))
    }

    /// Return how far text may be released, and the personal data in what is not yet, counted from there.
    private func settled(_ place: Int, _ final: Bool) -> (Int, [Finding]) {
        // What stands before them is read too: a word may tell what a number is.
        let start = max(released - limits.context, 0)
        let before = released - start
        let found = judge.rules.find(text.slice(start, place)).filter { $0.end > before }.map {
            Finding(kind: $0.kind, start: max($0.start - before, 0), end: $0.end - before)
        }
        let open = text.slice(released, place)
        let inside = place >= text.count || !Characters.isSpace(text[place])
        let end = final ? open.count : checkpoints.settled(open, found, inside: inside)
        let blocks = judge.policy.piiOutput == .block
        return (released + end, found.filter { $0.end <= end || blocks })
    }

    private func show(_ end: Int, _ text: Text, _ verdict: Verdict) -> StreamEvent {
        released = end
        shown += text.count
        return .released(text: text, end: base + end, verdict: verdict)
    }

    private func stop(_ seen: Verdict) -> StreamEvent {
        let verdict = outside(seen)
        if judge.policy.shadow {
            passing = verdict
            return show(text.count, text.slice(released, text.count), verdict)
        }
        over = true
        return .stopped(keep: verdict.action == .replace ? 0 : keep, verdict: verdict)
    }

    private func outside(_ seen: Verdict) -> Verdict {
        var verdict = seen
        verdict.findings = findings
        verdict.milliseconds = (spent + (ContinuousClock.now - started)).milliseconds
        return judge.published(verdict)
    }

    /// Keep no more of a long answer than later checks read, so that time and memory stay linear.
    private func forget() {
        guard text.count >= limits.buffer else { return }
        let cut = min(released - limits.context, checkpoints.reach(text, scanner.at) - checkpoints.lookback)
        guard cut > 0 else { return }
        text.removeFirst(cut)
        base += cut
        scanner.at -= cut
        cleared -= cut
        released -= cut
    }
}

extension Duration {
    var milliseconds: Double { Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15 }
}
