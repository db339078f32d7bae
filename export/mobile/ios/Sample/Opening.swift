/// From the folder of the bundle to a guarded session: verified first, then opened.

import BreakfixGuard
import BreakfixSession
import Foundation

enum Opening {
    private static let folder = "Bundle"
    private static let verified = "verified-bundle"

    /// Verify the bundle and open what is in it; it takes seconds. Throws with a sentence that names the file.
    static func session() throws -> GuardedSession {
        let bundle = try verifiedBundle()
        UserDefaults.standard.set([bundle.folder.path: bundle.id], forKey: verified)
        let judge = try bundle.guarded(by: OrtScores(try bundle.url("guard/model.onnx")))
        let template = try bundle.template()
        let engine = try GenAIEngine(try bundle.url("model/genai_config.json").deletingLastPathComponent(), template)
        return GuardedSession(engine, judge)
    }

    private static func verifiedBundle() throws -> VerifiedBundle {
        // What the app trusts is a part of it: without the file there is no telling, and nothing is opened.
        guard let at = Foundation.Bundle.main.url(forResource: "signing-key", withExtension: "txt"),
            let key = try? String(contentsOf: at, encoding: .ascii)
        else { throw BundleError("the app was built without signing-key.txt; build it with the file that the export wrote") }
        // What was verified in one place says nothing of a copy in another.
        let (folder, known) = (try place(), UserDefaults.standard.dictionary(forKey: verified) ?? [:])
        return try VerifiedBundle.open(folder, key: key, known: known[folder.path] as? String)
    }

    /// Where the bundle lies: downloaded, or in the app.
    private static func place() throws -> URL {
        let support = FileManager.default.urls(for: .applicationSupportDirectory, in: .userDomainMask)[0]
        var downloaded = support.appendingPathComponent(folder, isDirectory: true)
        if FileManager.default.fileExists(atPath: downloaded.path) {
            // What can be fetched again has no place in a backup.
            var values = URLResourceValues()
            values.isExcludedFromBackup = true
            try downloaded.setResourceValues(values)
            return downloaded
        }
        guard let shipped = Foundation.Bundle.main.url(forResource: folder, withExtension: nil) else {
            throw BundleError("the app was built without a Bundle folder; copy the export's manifest and payload into it")
        }
        return shipped
    }
}
