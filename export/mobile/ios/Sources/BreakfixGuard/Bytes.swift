/// Bytes and the text in them: UTF-8 read as Python reads it, base64, base32, digits.
///
/// Knows nothing of language. Whether what comes out is worth reading is for the caller to say.

enum Bytes {
    static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// The value of a hexadecimal digit.
    static func digit(_ byte: UInt8) -> UInt8 { byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57 }

    /// The length of the character that begins at a place, 0 where none does.
    static func character(_ bytes: ArraySlice<UInt8>, _ at: Int) -> Int {
        let lead = bytes[at]
        if lead < 0x80 { return 1 }
        let length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
        guard length > 0, at + length <= bytes.endIndex else { return 0 }
        return begun(bytes, at, length) == length ? length : 0
    }

    /// How many bytes from a place could be the beginning of a character of this length: at least the first.
    private static func begun(_ bytes: ArraySlice<UInt8>, _ at: Int, _ length: Int) -> Int {
        let lead = bytes[at]
        // Neither longer than need be, nor a surrogate, nor beyond the last code point.
        let least: UInt8 = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80
        let most: UInt8 = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf
        var next = at + 1
        while next < min(at + length, bytes.endIndex) {
            let range = next == at + 1 ? least...most : 0x80...0xbf
            guard range.contains(bytes[next]) else { break }
            next += 1
        }
        return next - at
    }

    /// How many bytes from the start are whole characters.
    static func wholeCharacters(_ bytes: ArraySlice<UInt8>) -> Int {
        var at = bytes.startIndex
        while at < bytes.endIndex {
            let length = character(bytes, at)
            if length == 0 { break }
            at += length
        }
        return at - bytes.startIndex
    }

    /// Read UTF-8; what is none becomes U+FFFD, one for each part that could have begun a character.
    static func text(_ bytes: ArraySlice<UInt8>) -> Text {
        var said = Text()
        var at = bytes.startIndex
        while at < bytes.endIndex {
            let length = character(bytes, at)
            if length == 0 {
                let lead = bytes[at]
                let wanted = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1
                said.append(0xfffd)
                at += wanted == 1 ? 1 : begun(bytes, at, wanted)
                continue
            }
            var point = length == 1 ? UInt32(bytes[at]) : UInt32(bytes[at]) & (0x7f >> UInt32(length))
            for next in at + 1..<at + length { point = point << 6 | UInt32(bytes[next] & 0x3f) }
            said.append(point)
            at += length
        }
        return said
    }

    /// Read base64 without padding, of a length that base64 can have.
    static func fromBase64(_ run: ArraySlice<UInt32>) throws -> [UInt8] {
        try fromBits(run, each: 6) { digit in
            switch digit {
            case 0x41...0x5a: return digit - 0x41
            case 0x61...0x7a: return digit - 0x61 + 26
            case 0x30...0x39: return digit - 0x30 + 52
            default: return digit == 0x2b ? 62 : digit == 0x2f ? 63 : nil
            }
        }
    }

    /// Read base32 in capitals without padding; bits left over at the end are dropped.
    static func fromBase32(_ run: ArraySlice<UInt32>) throws -> [UInt8] {
        try fromBits(run, each: 5) { digit in
            switch digit {
            case 0x41...0x5a: return digit - 0x41
            case 0x32...0x37: return digit - 0x32 + 26
            default: return nil
            }
        }
    }

    private static func fromBits(_ run: ArraySlice<UInt32>, each: Int, _ value: (UInt32) -> UInt32?) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var (bits, count) = (UInt32(0), 0)
        for digit in run {
            guard let value = value(digit) else { throw GuardError("a run of a code holds a digit that it has not") }
            bits = (bits << UInt32(each) | value) & 0xffff
            count += each
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(bits >> UInt32(count) & 0xff))
            }
        }
        return bytes
    }

    /// Read numbers of a fixed count of digits each.
    static func fromDigits(_ digits: Text, each: Int, radix: UInt32) throws -> [UInt8] {
        guard digits.count.isMultiple(of: each) else { throw GuardError("a run of digits ends inside a byte") }
        return stride(from: 0, to: digits.count, by: each).map { at in
            digits[at..<at + each].reduce(UInt8(0)) { $0 &* UInt8(radix) &+ digit(UInt8($1)) }
        }
    }

    /// Put code points together, halves of surrogate pairs too; a half alone becomes U+FFFD.
    static func fromCodes(_ codes: [UInt32]) -> Text {
        var said = Text()
        var at = 0
        while at < codes.count {
            let code = codes[at]
            at += 1
            if (0xd800..<0xdc00).contains(code), at < codes.count, (0xdc00..<0xe000).contains(codes[at]) {
                said.append(0x10000 + (code - 0xd800) << 10 + (codes[at] - 0xdc00))
                at += 1
            } else {
                said.append((0xd800..<0xe000).contains(code) ? 0xfffd : code)
            }
        }
        return said
    }
}
