/// The guard's model on ONNX Runtime, by its Objective-C API.

import BreakfixGuard
import Foundation
import OnnxRuntimeBindings

/// One pass over one row of tokens. A session may be used from several threads; nothing else here changes.
final class OrtScores: HeadScores, @unchecked Sendable {
    private let environment: ORTEnv
    private let session: ORTSession
    private let output: String

    init(_ model: URL) throws {
        environment = try ORTEnv(loggingLevel: .error)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(1)
        session = try ORTSession(env: environment, modelPath: model.path, sessionOptions: options)
        let names = try session.outputNames()
        guard Set(try session.inputNames()) == ["input_ids", "token_type_ids"], let output = names.first else {
            throw GuardError("guard/model.onnx was made by another Breakfix; export the bundle again")
        }
        self.output = output
    }

    func heads(ids: [Int64], types: [Int64]) throws -> [Float] {
        let inputs = ["input_ids": try Self.tensor(ids), "token_type_ids": try Self.tensor(types)]
        guard let row = try session.run(withInputs: inputs, outputNames: [output], runOptions: nil)[output] else {
            throw GuardError("guard/model.onnx gave no scores; export the bundle again")
        }
        let data = try row.tensorData() as Data
        return data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }

    private static func tensor(_ row: [Int64]) throws -> ORTValue {
        let data = row.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        return try ORTValue(tensorData: data, elementType: .int64, shape: [1, NSNumber(value: row.count)])
    }
}
