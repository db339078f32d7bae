/// What it takes to be an engine, and the engine that needs no model.
///
/// An engine turns conversations into text. It knows nothing of guards or screens.

/// One turn of a conversation.
public struct Message: Equatable, Sendable {
    public enum Role: String, Sendable { case system, user, assistant }

    public let role: Role
    public let content: String

    public init(_ role: Role, _ content: String) {
        (self.role, self.content) = (role, content)
    }
}

/// How to pick the next token.
public struct Sampling: Equatable, Sendable {
    /// The longest answer, in tokens.
    public var mostTokens = 512
    /// 0 is greedy and deterministic.
    public var temperature = 0.0
    /// Nucleus; unused when greedy.
    public var topP = 0.95
    /// Seed of the sampler; unused when greedy.
    public var seed: UInt32 = 0

    public init() {}
}

/// Anything that answers conversations.
public protocol Engine: Sendable {
    /// The most tokens of question and answer together.
    var context: Int { get }

    /// Return how many tokens a conversation has as it stands before its answer.
    func length(_ conversation: [Message]) async throws -> Int

    /// Give an answer piece by piece, one for each token; empty where a token completes no character. Ends where its task is
    /// cancelled, and throws where the engine breaks.
    func answer(_ conversation: [Message], _ sampling: Sampling) -> AsyncThrowingStream<String, any Error>
}

/// What a scripted engine throws where it was told to break.
public struct ScriptedBreak: Error, CustomStringConvertible {
    public let description = "the scripted engine broke off"
}

/// An engine for tests and previews: answers come from a table, streamed word by word.
public actor ScriptedEngine: Engine {
    public nonisolated let context: Int
    /// Every conversation this engine saw, oldest first.
    public private(set) var asked: [[Message]] = []
    private let answers: [String: String]
    private let breaksAfter: Int?

    /// - Parameters:
    ///   - answers: By the text of the last message.
    ///   - breaksAfter: After how many words it breaks, if it does.
    public init(_ answers: [String: String], context: Int = 1024, breaksAfter: Int? = nil) {
        (self.answers, self.context, self.breaksAfter) = (answers, context, breaksAfter)
    }

    /// Return the words of the conversation.
    public func length(_ conversation: [Message]) -> Int {
        conversation.reduce(0) { $0 + $1.content.split(separator: " ").count }
    }

    public nonisolated func answer(_ conversation: [Message], _ sampling: Sampling) -> AsyncThrowingStream<String, any Error> {
        AsyncThrowingStream { continuation in
            let work = Task {
                let words = await script(conversation)
                for (number, word) in words.prefix(sampling.mostTokens).enumerated() {
                    if number == breaksAfter { return continuation.finish(throwing: ScriptedBreak()) }
                    if Task.isCancelled { break }
                    continuation.yield(number == 0 ? word : " " + word)
                    await Task.yield()
                }
                continuation.finish()
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    private func script(_ conversation: [Message]) -> [String] {
        asked.append(conversation)
        let said = conversation.last.flatMap { answers[$0.content] } ?? "I have no line for that."
        return said.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
    }
}
