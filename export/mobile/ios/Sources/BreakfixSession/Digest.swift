/// SHA-256 and Ed25519: CryptoKit's where there is one. Elsewhere, where the tests run, SHA-256 is written out by FIPS 180-4, and a
/// signature is never found good.

import Foundation

#if canImport(CryptoKit)
    import CryptoKit
#endif

public enum Digest {
    private static let chunk = 1 << 20

    /// Return the SHA-256 of bytes, in hexadecimal.
    public static func sha256(_ bytes: [UInt8]) -> String {
        var hash = Sha256()
        hash.update(bytes)
        return hash.finish()
    }

    /// Return the SHA-256 of a file, read in pieces.
    public static func sha256(of url: URL) throws -> String {
        let file = try FileHandle(forReadingFrom: url)
        defer { try? file.close() }
        var hash = Sha256()
        var isRead = false
        while !isRead {
            // Without a pool of its own each piece would stay in memory until the whole file is read.
            try pooled {
                let piece = try file.read(upToCount: chunk) ?? Data()
                hash.update([UInt8](piece))
                isRead = piece.isEmpty
            }
        }
        return hash.finish()
    }

    /// Tell whether an Ed25519 signature of a message was made by this public key.
    public static func isSigned(_ signature: [UInt8], _ message: [UInt8], _ key: [UInt8]) throws -> Bool {
        #if canImport(CryptoKit)
            return try Curve25519.Signing.PublicKey(rawRepresentation: key).isValidSignature(Data(signature), for: Data(message))
        #else
            return false
        #endif
    }

    private static func pooled(_ work: () throws -> Void) rethrows {
        #if canImport(ObjectiveC)
            try autoreleasepool(invoking: work)
        #else
            try work()
        #endif
    }
}

#if canImport(CryptoKit)
    private struct Sha256 {
        private var hash = SHA256()

        mutating func update(_ bytes: [UInt8]) { hash.update(data: bytes) }

        func finish() -> String { hash.finalize().map { String(format: "%02x", $0) }.joined() }
    }
#else
    private struct Sha256 {
        private static let size = 64
        private static let primes = (2...311).filter { number in !(2..<number).contains { number % $0 == 0 } }
        /// The first 32 bits of the fractions of the cube roots of the first 64 primes.
        private static let constants = primes.map { fraction(cbrt(Double($0))) }
        /// Those of the square roots of the first eight.
        private var state = primes.prefix(8).map { fraction(Double($0).squareRoot()) }
        private var rest: [UInt8] = []
        private var count = 0

        private static func fraction(_ root: Double) -> UInt32 { UInt32((root - root.rounded(.down)) * 4_294_967_296) }

        mutating func update(_ bytes: [UInt8]) {
            count += bytes.count
            let all = rest + bytes
            let whole = all.count / Self.size * Self.size
            for start in stride(from: 0, to: whole, by: Self.size) { compress(all[start..<start + Self.size]) }
            rest = Array(all[whole...])
        }

        mutating func finish() -> String {
            let bits = UInt64(count) * 8
            let zeros = (Self.size * 2 - 9 - rest.count) % Self.size
            let length: [UInt8] = (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
            update([0x80] + [UInt8](repeating: 0, count: zeros))
            update(length)
            return state.map { String(format: "%08x", $0) }.joined()
        }

        private mutating func compress(_ block: ArraySlice<UInt8>) {
            var words = stride(from: block.startIndex, to: block.endIndex, by: 4).map { at in
                block[at..<at + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            }
            for at in 16..<64 {
                let (one, other): (UInt32, UInt32) = (words[at - 15], words[at - 2])
                let low: UInt32 = Self.turned(one, 7) ^ Self.turned(one, 18) ^ (one >> 3)
                let high: UInt32 = Self.turned(other, 17) ^ Self.turned(other, 19) ^ (other >> 10)
                words.append(words[at - 16] &+ low &+ words[at - 7] &+ high)
            }
            var (a, b, c, d) = (state[0], state[1], state[2], state[3])
            var (e, f, g, h) = (state[4], state[5], state[6], state[7])
            for at in 0..<64 {
                let high: UInt32 = Self.turned(e, 6) ^ Self.turned(e, 11) ^ Self.turned(e, 25)
                let chosen: UInt32 = (e & f) ^ (~e & g)
                let first: UInt32 = h &+ high &+ chosen &+ Self.constants[at] &+ words[at]
                let low: UInt32 = Self.turned(a, 2) ^ Self.turned(a, 13) ^ Self.turned(a, 22)
                let most: UInt32 = (a & b) ^ (a & c) ^ (b & c)
                let second: UInt32 = low &+ most
                (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
            }
            for (at, part) in [a, b, c, d, e, f, g, h].enumerated() { state[at] = state[at] &+ part }
        }

        private static func turned(_ word: UInt32, _ by: UInt32) -> UInt32 { (word >> by) | (word << (32 - by)) }
    }
#endif
