/// One guarded conversation: input rail, engine, output rail, as runtime/session.py. Nothing is said that was not checked.
///
/// It keeps the conversation in memory only, and knows no screen and no model file.

import BreakfixGuard

/// What the screen is told of a verdict.
public struct Note: Equatable, Sendable {
    public let action: Action
    public let rail: Rail
    public let category: String?
    /// What the user reads.
    public let message: String
    /// True when the guard could not judge and therefore blocked.
    public let failed: Bool

    init(_ verdict: Verdict) {
        (action, rail, category) = (verdict.action, verdict.rail, verdict.category)
        (message, failed) = (verdict.message, verdict.failed)
    }
}

/// What a turn leads to, in this order: any texts, then one end.
public enum TurnEvent: Equatable, Sendable {
    case text(String)
    /// `keep` is how many characters (Unicode scalars) of the texts stay; the rest is taken back.
    case blocked(keep: Int, note: Note)
    /// The question alone leaves no room for an answer.
    case tooLong
    /// `note` is there where the guard let a text pass and has something to tell; `forgotten` counts dropped oldest turns; `cut`:
    /// the answer was as long as it may be.
    case done(note: Note?, forgotten: Int, cut: Bool)
    /// The engine broke off; what was shown stands.
    case broken(String)
}

/// A conversation with a guarded engine.
public actor GuardedSession {
    /// The longest answer, in tokens.
    private static let longestAnswer = 512
    /// With less room than this an answer is not begun; older turns are forgotten for it.
    private static let leastRoom = 192
    private static let again = (temperature: 0.7, topP: 0.95)

    /// The conversation so far; what was blocked leaves nothing.
    public private(set) var history: [Message] = []
    private let engine: any Engine
    private let judge: Guard
    /// Counts conversations: one that was begun anew takes no answer from before.
    private var generation = 0
    /// The conversation as it stood before the last turn, to ask that again.
    private var before: [Message] = []
    private var isBusy = false
    private var isStopped = false

    public init(_ engine: any Engine, _ judge: Guard) {
        (self.engine, self.judge) = (engine, judge)
    }

    /// Ask, and give the checked answer and how the turn ended. Whoever no longer listens stops it.
    ///
    /// - Parameter again: Ask in place of the last turn, sampled: greedy would say the same again.
    public nonisolated func ask(_ text: String, again: Bool = false) -> AsyncStream<TurnEvent> {
        AsyncStream { continuation in
            let work = Task {
                await self.turn(text, again) { continuation.yield($0) }
                continuation.finish()
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    /// End the present answer; what was written of it is checked, shown and remembered.
    public func stop() { isStopped = true }

    /// Forget the conversation; a turn that is under way leaves nothing in it.
    public func restart() {
        (history, before, isStopped) = ([], [], true)
        generation += 1
    }

    private func turn(_ text: String, _ again: Bool, _ tell: @Sendable (TurnEvent) -> Void) async {
        guard !isBusy else { return tell(.broken("another question is being answered")) }
        (isBusy, isStopped) = (true, false)
        defer { isBusy = false }
        if again { history = before }
        before = history
        let said = history.filter { $0.role == .user }.map { Text($0.content) }
        let verdict = judge.checkInput(Text(text), context: said)
        if verdict.isBlocked { return tell(.blocked(keep: 0, note: Note(verdict))) }
        let asked = verdict.action == .redact ? redact(Text(text), verdict.findings).string : text
        do {
            guard let room = try await makeRoom(asked) else { return tell(.tooLong) }
            await answer(asked, room, again, noted: Self.notable(verdict), tell)
        } catch {
            tell(.broken("\(error)"))
        }
    }

    private func answer(
        _ text: String, _ room: (tokens: Int, forgotten: Int), _ again: Bool, noted: Note?, _ tell: @Sendable (TurnEvent) -> Void
    ) async {
        let rail = judge.stream(prompt: Text(text))
        let begun = generation
        var (shown, last, tokens, broken) = (Text(), noted, 0, "")
        /// Show what was checked; false once the answer is stopped.
        func show(_ events: [StreamEvent]) -> Bool {
            for event in events {
                switch event {
                case .stopped(let keep, let verdict):
                    tell(.blocked(keep: min(keep, shown.count), note: Note(verdict)))
                    return false
                case .released(let text, _, let verdict):
                    last = noted ?? Self.notable(verdict)
                    shown += text
                    if !text.isEmpty { tell(.text(text.string)) }
                }
            }
            return true
        }
        do {
            for try await piece in engine.answer(history + [Message(.user, text)], sampling(room.tokens, again)) {
                if isStopped || Task.isCancelled { break }
                tokens += 1
                guard show(rail.feed(Text(piece))) else { return }
            }
        } catch {
            if !isStopped && !Task.isCancelled { broken = "\(error)" }
        }
        guard show(rail.finish()) else { return }
        if !shown.isEmpty && begun == generation { history += [Message(.user, text), Message(.assistant, shown.string)] }
        tell(broken.isEmpty ? .done(note: last, forgotten: room.forgotten, cut: tokens >= room.tokens) : .broken(broken))
    }

    private func sampling(_ tokens: Int, _ again: Bool) -> Sampling {
        var sampling = Sampling()
        sampling.mostTokens = tokens
        if again {
            (sampling.temperature, sampling.topP) = Self.again
            sampling.seed = .random(in: 0...UInt32.max)
        }
        return sampling
    }

    /// Forget the oldest turns until an answer fits; nil where the question alone is too long.
    private func makeRoom(_ text: String) async throws -> (tokens: Int, forgotten: Int)? {
        var (kept, forgotten) = (history, 0)
        while true {
            let left = engine.context - (try await engine.length(kept + [Message(.user, text)]))
            if left >= Self.leastRoom {
                history = kept
                return (min(Self.longestAnswer, left), forgotten)
            }
            guard !kept.isEmpty else { return nil }
            kept.removeFirst(min(2, kept.count))
            forgotten += 1
        }
    }

    /// Return the verdict on a text that passed if the user should hear of it.
    private static func notable(_ verdict: Verdict) -> Note? {
        verdict.action != .allow || verdict.failed ? Note(verdict) : nil
    }
}
