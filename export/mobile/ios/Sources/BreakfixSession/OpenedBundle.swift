/// The guard and the template that lie in a verified bundle.

import BreakfixGuard

extension VerifiedBundle {
    /// Open the guard of the bundle; `model` runs `guard/model.onnx`. Throws BundleError or GuardError.
    public func guarded(by model: any HeadScores) throws -> Guard {
        let judge = try Guard(
            Guard.Files(
                tokenizer: bytes("guard/tokenizer.json"), calibration: bytes("guard/calibration.json"),
                policy: bytes("guard/policy.json"), tables: bytes("guard/tables.json"), model: model))
        guard !judge.policy.shadow else {
            throw BundleError("payload/guard/policy.json is in shadow mode, which blocks nothing; export the bundle with another")
        }
        return judge
    }

    /// Read the chat template of the bundle. Throws BundleError.
    public func template() throws -> ChatTemplate { try ChatTemplate(bytes("model/chat.json")) }
}
