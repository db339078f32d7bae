/// Tells whether a text is an IPv6 address, by RFC 4291 as Python's `ipaddress` reads it.
///
/// Knows nothing of scopes or networks.

enum Address {
    private static let count = 8

    static func isIPv6(_ address: Text) -> Bool {
        var parts = address.split(separator: 0x3a, omittingEmptySubsequences: false).map(Text.init)
        guard parts.count >= 3, let last = parts.last else { return false }
        if last.contains(0x2e) {
            guard isIPv4(last) else { return false }
            parts.replaceSubrange((parts.count - 1)..., with: [[0x30], [0x30]])
        }
        guard parts.count <= count + 1 else { return false }
        let gaps = parts.indices.dropFirst().dropLast().filter { parts[$0].isEmpty }
        if gaps.count > 1 { return false }
        if let gap = gaps.first { return hasGap(parts, gap) }
        return parts.count == count && parts.allSatisfy(isGroup)
    }

    /// - Parameter gap: Which of the parts is empty: the `::`.
    private static func hasGap(_ parts: [Text], _ gap: Int) -> Bool {
        var (before, after) = (gap, parts.count - gap - 1)
        if parts[0].isEmpty {
            before -= 1
            if before > 0 { return false }  // it begins with one colon
        }
        if parts[parts.count - 1].isEmpty {
            after -= 1
            if after > 0 { return false }  // it ends with one colon
        }
        guard before + after < count else { return false }
        return parts[(parts[0].isEmpty ? 1 : 0)..<gap].allSatisfy(isGroup) && parts.suffix(after).allSatisfy(isGroup)
    }

    private static func isGroup(_ part: Text) -> Bool {
        (1...4).contains(part.count) && part.allSatisfy { $0 < 0x80 && Bytes.isHex(UInt8($0)) }
    }

    private static func isIPv4(_ address: Text) -> Bool {
        let octets = address.split(separator: 0x2e, omittingEmptySubsequences: false)
        return octets.count == 4
            && octets.allSatisfy { octet in
                guard (1...3).contains(octet.count), octet.allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
                return (octet.count == 1 || octet.first != 0x30) && octet.reduce(0) { $0 * 10 + Int($1 - 0x30) } < 256
            }
    }
}
