/// The chat model on onnxruntime-genai, by its C API. Knows nothing of the guard.

import BreakfixSession
import Foundation

/// What onnxruntime-genai says went wrong.
struct GenAIError: Error, CustomStringConvertible {
    let description: String
}

/// One model; its API is not thread-safe, so one queue does everything.
final class GenAIEngine: Engine, @unchecked Sendable {
    let context: Int
    private let template: ChatTemplate
    private let model, tokenizer: OpaquePointer
    private let queue = DispatchQueue(label: "breakfix.engine", qos: .userInitiated)

    /// Open the model folder of a verified bundle; it takes seconds.
    init(_ folder: URL, _ template: ChatTemplate) throws {
        let model = try Self.made { OgaCreateModel(folder.path, $0) }
        do {
            tokenizer = try Self.made { OgaCreateTokenizer(model, $0) }
        } catch {
            OgaDestroyModel(model)
            throw error
        }
        (self.model, self.template, context) = (model, template, template.context)
    }

    deinit {
        OgaDestroyTokenizer(tokenizer)
        OgaDestroyModel(model)
    }

    func length(_ conversation: [Message]) async throws -> Int {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try self.encode(conversation).count }) }
        }
    }

    func answer(_ conversation: [Message], _ sampling: Sampling) -> AsyncThrowingStream<String, any Error> {
        AsyncThrowingStream { continuation in
            let isOver = Flag()
            continuation.onTermination = { _ in isOver.raise() }
            queue.async {
                do {
                    try self.generate(conversation, sampling, isOver) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    private func generate(_ conversation: [Message], _ sampling: Sampling, _ isOver: Flag, _ tell: (String) -> Void) throws {
        let ids = try encode(conversation)
        let settings = try Self.made { OgaCreateGeneratorParams(self.model, $0) }
        defer { OgaDestroyGeneratorParams(settings) }
        // The cache is allocated for the longest conversation: never for more than this one needs.
        let most = min(context, ids.count + sampling.mostTokens)
        try Self.check(OgaGeneratorParamsSetSearchNumber(settings, "max_length", Double(most)))
        try Self.check(OgaGeneratorParamsSetSearchBool(settings, "do_sample", sampling.temperature > 0))
        if sampling.temperature > 0 {
            try Self.check(OgaGeneratorParamsSetSearchNumber(settings, "temperature", sampling.temperature))
            try Self.check(OgaGeneratorParamsSetSearchNumber(settings, "top_p", sampling.topP))
            try Self.check(OgaGeneratorParamsSetSearchNumber(settings, "random_seed", Double(sampling.seed)))
        }
        let generator = try Self.made { OgaCreateGenerator(self.model, settings, $0) }
        defer { OgaDestroyGenerator(generator) }
        let stream = try Self.made { OgaCreateTokenizerStream(self.tokenizer, $0) }
        defer { OgaDestroyTokenizerStream(stream) }
        try Self.check(OgaGenerator_AppendTokens(generator, ids, ids.count))
        var count = 0
        while !isOver.isRaised, count < sampling.mostTokens, !OgaGenerator_IsDone(generator) {
            try Self.check(OgaGenerator_GenerateNextToken(generator))
            count += 1
            let length = OgaGenerator_GetSequenceCount(generator, 0)
            guard let tokens = OgaGenerator_GetSequenceData(generator, 0), length > 0 else { break }
            let token = tokens[length - 1]
            if template.ends.contains(Int(token)) { break }
            var piece: UnsafePointer<CChar>?
            try Self.check(OgaTokenizerStreamDecode(stream, token, &piece))
            tell(piece.map { String(cString: $0) } ?? "")
        }
    }

    private func encode(_ conversation: [Message]) throws -> [Int32] {
        let sequences = try Self.made { OgaCreateSequences($0) }
        defer { OgaDestroySequences(sequences) }
        try Self.check(OgaTokenizerEncode(tokenizer, try template.render(conversation), sequences))
        let count = OgaSequencesGetSequenceCount(sequences, 0)
        guard let ids = OgaSequencesGetSequenceData(sequences, 0) else { throw GenAIError(description: "nothing was encoded") }
        return Array(UnsafeBufferPointer(start: ids, count: count))
    }

    private static func made(_ make: (UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?) throws -> OpaquePointer {
        var made: OpaquePointer?
        try check(make(&made))
        guard let made else { throw GenAIError(description: "onnxruntime-genai made nothing") }
        return made
    }

    private static func check(_ result: OpaquePointer?) throws {
        guard let result else { return }
        defer { OgaDestroyResult(result) }
        throw GenAIError(description: OgaResultGetError(result).map { String(cString: $0) } ?? "onnxruntime-genai failed")
    }
}

/// Tells another thread to end.
private final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var raised = false

    var isRaised: Bool { lock.withLock { raised } }

    func raise() { lock.withLock { raised = true } }
}
