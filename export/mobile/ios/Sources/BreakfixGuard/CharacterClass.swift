/// A set of characters, as an expression writes it in brackets.
///
/// Knows no expression.

struct CharacterClass {
    enum Kind { case word, digit, space }

    private var ranges: [ClosedRange<UInt32>] = []
    private var kinds: [(kind: Kind, negated: Bool)] = []
    private let ascii: Bool
    private var negated = false
    /// The answer for each character of ASCII.
    private(set) var low: (UInt64, UInt64) = (0, 0)

    /// - Parameter ascii: Whether `\w`, `\d` and `\s` know ASCII only.
    init(ascii: Bool) {
        self.ascii = ascii
    }

    mutating func add(_ range: ClosedRange<UInt32>, ignoringCase: Bool) {
        ranges.append(range)
        guard ignoringCase, range.count == 1 else { return }
        for point in Self.otherCases(range.lowerBound) { ranges.append(point...point) }
    }

    mutating func add(_ kind: Kind, negated: Bool) { kinds.append((kind, negated)) }

    /// Close the set; `negated`: it holds all other characters.
    mutating func close(negated: Bool) {
        self.negated = negated
        for point in 0..<UInt32(128) where holds(point) != negated {
            if point < 64 { low.0 |= 1 << UInt64(point) } else { low.1 |= 1 << UInt64(point - 64) }
        }
    }

    @inline(__always)
    func contains(_ point: UInt32) -> Bool {
        if point < 64 { return low.0 >> UInt64(point) & 1 == 1 }
        if point < 128 { return low.1 >> UInt64(point - 64) & 1 == 1 }
        return holds(point) != negated
    }

    private func holds(_ point: UInt32) -> Bool {
        for range in ranges where range.contains(point) { return true }
        for (kind, negated) in kinds where isOf(kind, point) != negated { return true }
        return false
    }

    private func isOf(_ kind: Kind, _ point: UInt32) -> Bool {
        if ascii && point > 0x7f { return false }
        switch kind {
        case .word: return Characters.isWord(point)
        case .digit: return Characters.isDigit(point)
        // The separators U+001C to U+001F are spaces to Python, but not among those of ASCII.
        case .space: return Characters.isSpace(point) && !(ascii && (0x1c...0x1f).contains(point))
        }
    }

    /// What Python takes for the same letter in another case.
    private static func otherCases(_ point: UInt32) -> [UInt32] {
        guard let properties = Unicode.Scalar(point)?.properties, Characters.isLetter(point) else { return [] }
        let others = [properties.lowercaseMapping, properties.uppercaseMapping].compactMap { mapped -> UInt32? in
            mapped.unicodeScalars.count == 1 ? mapped.unicodeScalars.first?.value : nil
        }
        switch point | 0x20 {
        case 0x69: return others + [0x130, 0x131]
        case 0x6b: return others + [0x212a]
        case 0x73: return others + [0x17f]
        default: return others
        }
    }
}
