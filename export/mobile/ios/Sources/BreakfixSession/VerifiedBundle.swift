/// A bundle as `breakfix export mobile` wrote it: every file of its payload is what the manifest says, and none is foreign.
///
/// The project that the app was built from (`app/`) is listed as well and does not ship; it is not looked for. What the files
/// mean is not known here.

import BreakfixGuard
import Foundation

/// What keeps a bundle from being used, in a sentence: what, which file, the remedy.
public struct BundleError: Error, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

public struct VerifiedBundle: Sendable {
    /// Tells whether a signature of a message was made by the key with these 32 bytes.
    public typealias SignatureCheck = (_ signature: [UInt8], _ message: [UInt8], _ key: [UInt8]) throws -> Bool

    struct Entry: Equatable, Sendable {
        let sha256: String
        let bytes: Int
    }

    private static let kind = "bundle"
    private static let manifest = "manifest.json"
    private static let signature = "manifest.sig"
    private static let payload = "payload/"
    private static let format = 1
    /// Bytes: what is no larger is hashed whenever the bundle is opened, the guard's model among it.
    private static let small = 32 << 20

    /// Names the bundle by what is in it.
    public let id: String
    public let folder: URL
    private let files: [String: Entry]

    /// Open a bundle. Throws BundleError with the name of the file that is missing, foreign or changed.
    ///
    /// - Parameters:
    ///   - folder: Holds manifest.json and payload/.
    ///   - key: The public key, in base64, that the manifest must be signed with; empty: it need not be signed.
    ///   - known: The id of a bundle whose bytes were verified here before; of that one the largest files are not hashed again.
    ///   - isSigned: What checks a signature; on Apple's systems CryptoKit.
    public static func open(
        _ folder: URL, key: String, known: String? = nil, isSigned: SignatureCheck = Digest.isSigned
    ) throws -> VerifiedBundle {
        let bytes = try read(folder.appendingPathComponent(manifest), manifest)
        try demandSignature(folder, bytes, key, isSigned)
        let bundle = try VerifiedBundle(folder, bytes)
        try bundle.verify(hashing: bundle.id != known)
        return bundle
    }

    private init(_ folder: URL, _ manifest: [UInt8]) throws {
        let damaged = BundleError("\(Self.manifest) is damaged; export the bundle again")
        guard let file = try? Json(manifest), let id = file["id"].string, let listed = file["files"].object else { throw damaged }
        guard file["format"].int == Self.format, file["kind"].string == Self.kind else {
            throw BundleError("\(Self.manifest) is of no bundle that this app reads; export the bundle again")
        }
        var files: [String: Entry] = [:]
        for (name, entry) in listed {
            guard let sha256 = entry["sha256"].string, let size = entry["bytes"].int, Self.isPlain(name) else {
                throw BundleError("\(Self.manifest) lists \(name.string), which is no file of a bundle; export the bundle again")
            }
            files[name.string] = Entry(sha256: sha256, bytes: size)
        }
        guard id == Self.contentId(files) else {
            throw BundleError("\(Self.manifest) was edited: its id does not fit its files; export the bundle again")
        }
        (self.id, self.folder, self.files) = (id, folder, files)
    }

    /// Where a file of the payload lies. Throws BundleError where the manifest lists no such file.
    public func url(_ name: String) throws -> URL {
        guard files[Self.payload + name] != nil else {
            throw BundleError("\(Self.payload)\(name) is needed and \(Self.manifest) does not list it; export the bundle again")
        }
        return folder.appendingPathComponent(Self.payload + name)
    }

    /// Read a file of the payload whole, its hash verified on what was read.
    public func bytes(_ name: String) throws -> [UInt8] {
        let bytes = try Self.read(try url(name), Self.payload + name)
        guard Digest.sha256(bytes) == files[Self.payload + name]?.sha256 else { throw Self.changed(Self.payload + name) }
        return bytes
    }

    private func verify(hashing: Bool) throws {
        let expected = files.filter { $0.key.hasPrefix(Self.payload) }
        guard !expected.isEmpty else { throw BundleError("\(Self.manifest) lists no payload; export the bundle again") }
        for (name, size) in try present().sorted(by: { $0.key < $1.key }) {
            guard let entry = expected[name] else {
                throw BundleError("\(name) does not belong to this bundle; remove it or export the bundle again")
            }
            let at = folder.appendingPathComponent(name)
            let trusted = !hashing && entry.bytes > Self.small
            guard try size == entry.bytes && (trusted || Digest.sha256(of: at) == entry.sha256) else { throw Self.changed(name) }
        }
        let found = try present()
        if let name = expected.keys.sorted().first(where: { found[$0] == nil }) {
            throw BundleError("\(name) is missing; the bundle is not whole, export or copy it again")
        }
    }

    /// Return the files of the payload, hidden ones too, with their sizes; a link is refused, for it may lead anywhere.
    private func present() throws -> [String: Int] {
        let root = folder.appendingPathComponent(Self.payload, isDirectory: true)
        let manager = FileManager.default
        guard let names = try? manager.subpathsOfDirectory(atPath: root.path) else {
            throw BundleError("\(Self.payload) is missing; the bundle is not whole, export or copy it again")
        }
        var found: [String: Int] = [:]
        for name in names {
            let about = try? manager.attributesOfItem(atPath: root.appendingPathComponent(name).path)
            let type = about?[.type] as? FileAttributeType
            if type == .typeDirectory { continue }
            guard type == .typeRegular, let size = (about?[.size] as? NSNumber)?.intValue else {
                throw BundleError("\(Self.payload)\(name) is no plain file; export or copy the bundle again")
            }
            found[Self.payload + name] = size
        }
        return found
    }

    private static func changed(_ name: String) -> BundleError {
        BundleError("\(name) was changed or cut short since the bundle was made; export or copy it again")
    }

    private static func read(_ url: URL, _ name: String) throws -> [UInt8] {
        guard let data = try? Data(contentsOf: url) else {
            throw BundleError("\(name) is missing or cannot be read; export or copy the bundle again")
        }
        return [UInt8](data)
    }

    private static func demandSignature(_ folder: URL, _ bytes: [UInt8], _ key: String, _ isSigned: SignatureCheck) throws {
        let key = key.trimmingCharacters(in: .whitespacesAndNewlines)
        if key.isEmpty { return }
        guard let trusted = Data(base64Encoded: key), trusted.count == 32 else {
            throw BundleError("the app was built with a signing key that is none; give base64 of 32 bytes")
        }
        let text = String(decoding: try read(folder.appendingPathComponent(signature), signature), as: UTF8.self)
        let made = Data(base64Encoded: text.trimmingCharacters(in: .whitespacesAndNewlines))
        guard let made, made.count == 64, try isSigned([UInt8](made), bytes, [UInt8](trusted)) else {
            throw BundleError("\(signature) was not made by this app's key for this manifest; do not use the bundle")
        }
    }

    /// A name that stays inside the bundle, whatever reads it.
    private static func isPlain(_ name: Text) -> Bool {
        let known = Text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+@ -")
        return name.split(separator: 0x2f, omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.allSatisfy(known.contains) && part.contains { $0 != 0x2e }
        }
    }

    /// The id that a bundle with these files has: core/artifact.py, `content_id`.
    private static func contentId(_ files: [String: Entry]) -> String {
        let listing = files.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { "\"\($0)\": \"\($1.sha256)\"" }
        return Digest.sha256([UInt8]("[\"\(kind)\", {\(listing.joined(separator: ", "))}]".utf8))
    }
}
