/// The guard: scores and a policy make a verdict. It fails closed: whatever goes wrong inside, the text does not pass.
///
/// Only the policy's shadow mode lets a failure pass, because it is a trial run that changes nothing; the verdict still says that
/// the guard failed. It keeps no text and logs none. What it decides is specified in guardrails/SPEC.md.

/// Checks the user's text before the model sees it, and the model's text before the user does.
public struct Guard: Sendable {
    /// The files of a guard, as they lie in a bundle, and what runs its model.
    public struct Files {
        /// tokenizer.json, calibration.json and tables.json.
        public let tokenizer, calibration, tables: [UInt8]
        /// policy.json.
        public let policy: [UInt8]
        public let model: any HeadScores

        public init(tokenizer: [UInt8], calibration: [UInt8], policy: [UInt8], tables: [UInt8], model: any HeadScores) {
            (self.tokenizer, self.calibration, self.tables) = (tokenizer, calibration, tables)
            (self.policy, self.model) = (policy, model)
        }
    }

    struct Limits: Sendable {
        let longest, turns, joined, prompt: Int
    }

    /// The version of the tables that this port reads.
    private static let format = 2

    public let policy: Policy
    let checkpoints: Checkpoints
    let streamLimits: OutputRail.Limits
    let rules: Rules
    let normalizer: Normalizer
    let casefold: [UInt32: Text]
    let classifier: any CalibratedClassifier
    let read: @Sendable (Text) throws -> [Form]
    private let limits: Limits
    private let lastWord: String
    private let harmless, forbidden: PhraseList

    /// Open a guard from the files of a bundle. Throws GuardError with the name of what is missing.
    public init(_ files: Files) throws {
        try self.init(files, policy: Policy(try Json(files.policy)))
    }

    /// - Parameters:
    ///   - classifier: What scores, where it is another than the files make.
    ///   - read: What makes the readings of a text, where it is another.
    init(
        _ files: Files, policy: Policy, classifier: (any CalibratedClassifier)? = nil,
        read: (@Sendable (Text) throws -> [Form])? = nil
    ) throws {
        let tables = Part(value: try Json(files.tables), name: "tables")
        guard try tables["format"].int() == Self.format else {
            throw GuardError("the guard's tables are of another version; make the bundle again")
        }
        let calibration = Part(value: try Json(files.calibration), name: "calibration")
        let vocabulary = Part(value: try Json(files.tokenizer), name: "tokenizer")
        let language = try Language(tables["language"])
        let decoder = try Decoder(tables["decode"], ciphers: tables["ciphers"], language)
        let normalizer = try Normalizer(tables["normalize"], combining: tables["unicode"]["combining"], decoder)
        let pieces = try WordPieces(vocabulary, tables["classifier"], scripts: tables["unicode"]["scripts"], normalizer)
        let own = try Classifier(files.model, pieces, calibration: calibration, tables["classifier"])
        for rail in [Rail.input, .output] where own.thresholds[rail.rawValue]?[policy.level]?.isEmpty ?? true {
            throw GuardError("the guard's calibration.thresholds.\(rail.rawValue) lacks \(policy.level); make the bundle again")
        }
        (self.policy, self.classifier, self.normalizer) = (policy, classifier ?? own, normalizer)
        self.read = read ?? { try normalizer.forms($0) }
        (rules, checkpoints) = (try Rules(tables["rules"]), try Checkpoints(tables["checkpoints"]))
        streamLimits = try OutputRail.Limits(tables["stream"])
        casefold = try tables["unicode"]["casefold"].textsByCharacter()
        let guards = tables["guard"]
        limits = Limits(
            longest: try guards["longest"].int(), turns: try guards["turns"].int(), joined: try guards["joined"].int(),
            prompt: try guards["prompt"].int())
        lastWord = try guards["last_word"].string()
        harmless = PhraseList(policy.allow, normalizer, casefold: casefold)
        forbidden = PhraseList(policy.block, normalizer, casefold: casefold)
    }

    /// Judge what a user wrote, alone and together with their last turns (`context`, oldest first).
    public func checkInput(_ text: Text, context: [Text] = []) -> Verdict {
        let started = ContinuousClock.now
        var seen: Verdict
        do {
            seen = try judgeInput(text, context)
        } catch {
            // Fail closed: no failure of any library may let a text through.
            seen = refusal(.input, error)
        }
        seen.milliseconds = (ContinuousClock.now - started).milliseconds
        return published(seen)
    }

    /// Judge what a model answered to a prompt: the very checks of `stream`, so their verdicts are the same.
    public func checkOutput(prompt: Text, answer: Text) -> Verdict {
        let rail = stream(prompt: prompt)
        var events = rail.feed(answer)
        if !rail.over { events += rail.finish() }
        return events.last?.verdict ?? published(refusal(.output, GuardError("nobody has judged the answer")))
    }

    /// Return the rail that checks an answer to a prompt while a model writes it.
    public func stream(prompt: Text) -> OutputRail { OutputRail(self, prompt: prompt) }

    /// Return the worst of what the policy makes of an excerpt of an answer. Throws when it cannot be judged.
    func judgeAnswer(_ prompt: Text, _ excerpt: Text) throws -> Verdict {
        try Verdict.worst(judge(.output, excerpt, prompt: prompt.slice(0, limits.prompt)))
    }

    /// Return what the policy makes of personal data that were found, at least one.
    func judgePii(_ rail: Rail, _ findings: [Finding]) throws -> Verdict {
        var seen = Verdict(rail == .input ? policy.piiInput : policy.piiOutput, rail)
        seen.message = seen.action == .block ? try policy.say(policy.piiMessage) : ""
        (seen.category, seen.score, seen.hard, seen.findings) = (Category.pii, 1, true, findings)
        if let first = findings.first { seen.span = (first.start, first.end) }
        return seen
    }

    /// Return the verdict of a guard that could not judge; a text that it cannot read is no failure of its own.
    func refusal(_ rail: Rail, _ why: any Error) -> Verdict {
        let isUnread = why is UnreadableText
        var seen = Verdict(.block, rail)
        seen.category = isUnread ? Category.unread : nil
        seen.message = (isUnread ? try? policy.say(Category.unread) : nil) ?? (try? policy.say("failed")) ?? lastWord
        (seen.failed, seen.hard) = (!isUnread, true)
        return seen
    }

    /// Return the verdict as it counts outside: in shadow mode everything passes, and the verdict says what would not.
    func published(_ seen: Verdict) -> Verdict {
        guard policy.shadow, seen.action != .allow else { return seen }
        var verdict = seen
        (verdict.action, verdict.would, verdict.message) = (.allow, seen.action, "")
        return verdict
    }

    private func judgeInput(_ text: Text, _ context: [Text]) throws -> Verdict {
        guard text.count <= limits.longest else {
            throw GuardError("the text is too long to be checked whole; send it in smaller parts")
        }
        if harmless.matchesWhole(text) { return Verdict(.allow, .input) }
        var found = try judge(.input, text, prompt: nil)
        if !context.isEmpty { found += try judgeJoined(text, context) }
        let pii = policy.piiInput == .allow ? [] : rules.find(text)
        if !pii.isEmpty { found.append(try judgePii(.input, pii)) }
        var seen = try Verdict.worst(found)
        seen.findings = pii
        return seen
    }

    /// Judge the text as the end of what the user said before, where a request may be split over turns.
    ///
    /// Thresholds are calibrated on texts that stand alone; this second look must not add its own false alarms, and an earlier
    /// turn that passed must not taint the next. So it counts only from the hard threshold on, and only where the new text takes
    /// part. A split request, joined, is as plain as an unsplit one.
    private func judgeJoined(_ text: Text, _ context: [Text]) throws -> [Verdict] {
        let before = Text(context.suffix(limits.turns).map { Text($0.suffix(limits.joined)) + [0x0a] }.joined())
        let found = try judge(.input, before + Text(text.prefix(limits.joined)), prompt: nil)
        return found.filter { $0.isBlocked && $0.hard && $0.span.end > before.count }.map { seen in
            var placed = seen
            placed.span = (max(seen.span.start - before.count, 0), seen.span.end - before.count)
            return placed
        }
    }

    /// Return what the policy makes of every window of every spelling of a text; a prompt makes it an answer.
    private func judge(_ rail: Rail, _ text: Text, prompt: Text?) throws -> [Verdict] {
        let forms = try read(text)
        let scored = try classifier.score(
            forms.map { prompt == nil ? Passage(prompt: $0.text) : Passage(prompt: prompt ?? [], answer: $0.text) })
        guard scored.count == forms.count, !scored.contains(where: \.isEmpty) else {
            throw GuardError("a spelling of the text was not judged")
        }
        var found: [Verdict] = []
        for (form, windows) in zip(forms, scored) {
            if let phrase = forbidden.first(form.text) {
                found.append(try weigh(rail, Category.blocklist, 1, 0, form.span(phrase.start, phrase.end)))
            }
            for window in windows {
                let span = window.end > 0 ? form.span(window.start, window.end) : (0, text.count)
                found += try judgeWindow(rail, window, span)
            }
        }
        return found
    }

    /// Return what the policy makes of one window. That it refuses excuses nothing: a refusal score beside harm is what an answer
    /// looks like that refuses first and complies after; a plain refusal is for the classifier to score as harmless.
    private func judgeWindow(_ rail: Rail, _ window: Scores, _ span: (start: Int, end: Int)) throws -> [Verdict] {
        // A score that is no number is no proof of harmlessness.
        guard [window.unsafe, window.jailbreak, window.refusal].allSatisfy({ $0 >= 0 && $0 <= 1 }) else {
            throw GuardError("the classifier gave what is no probability; make the bundle again")
        }
        let calibrated = classifier.thresholds[rail.rawValue]?[policy.level]
        let harm = try weigh(rail, window.hazard, window.unsafe, calibrated?[window.hazard], span)
        if rail == .output { return [harm] }  // an answer attacks no model
        let attack = try weigh(rail, Category.jailbreak, window.jailbreak, calibrated?[Category.jailbreak], span)
        // What an allowed text scored is how harmful it is.
        return attack.action == .allow ? [harm] : [harm, attack]
    }

    private func weigh(
        _ rail: Rail, _ category: String, _ score: Double, _ calibrated: Double?, _ span: (start: Int, end: Int)
    ) throws -> Verdict {
        let rule = policy.rule(category)
        guard let calibrated, let threshold = (rail == .input ? rule.input : rule.output) ?? calibrated as Double?,
            threshold >= 0, threshold <= 1
        else { throw GuardError("a threshold is missing or no probability; mend the policy or make the bundle again") }
        var seen = Verdict(.allow, rail)
        (seen.score, seen.span) = (score, span)
        if score < threshold || rule.action == .allow { return seen }
        (seen.action, seen.category) = (rule.action, category)
        seen.hard = score >= threshold + policy.hard * (1 - threshold)
        seen.message = rule.action == .warn ? "" : try policy.say(rule.message)
        return seen
    }
}
