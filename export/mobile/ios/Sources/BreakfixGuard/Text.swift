/// Text as a list of code points, and what Python says of characters, so that places and decisions are those of the Python guard.
///
/// Swift counts what a reader takes for one character and holds two strings equal that are spelled differently; whatever this
/// guard counts, cuts, compares or reports is in code points. Knows nothing of readings, categories or models.

/// Code points, lone surrogates among them where a source has such.
public typealias Text = [UInt32]

extension Array where Element == UInt32 {
    /// Take the code points of a string.
    public init(_ string: String) {
        self = string.unicodeScalars.map(\.value)
    }

    /// The string of these code points; what no string can hold becomes U+FFFD.
    public var string: String {
        var scalars = String.UnicodeScalarView()
        scalars.reserveCapacity(count)
        for point in self { scalars.append(Unicode.Scalar(point) ?? "\u{fffd}") }
        return String(scalars)
    }

    var isAscii: Bool { allSatisfy { $0 < 0x80 } }

    /// Whether every character can be seen, or is a space.
    var isPrintable: Bool { allSatisfy { $0 < 0x80 ? $0 >= 0x20 && $0 < 0x7f : !Characters.isHiddenOrGap($0) } }

    /// It without the spaces at both ends.
    public var trimmed: Text {
        guard let first = firstIndex(where: { !Characters.isSpace($0) }), let last = lastIndex(where: { !Characters.isSpace($0) })
        else { return Text() }
        return Text(self[first...last])
    }

    /// Whether it is spaces alone, at least one.
    var isSpace: Bool { !isEmpty && allSatisfy(Characters.isSpace) }

    /// The small letters of each character by itself.
    var lowered: Text {
        var said = Text()
        said.reserveCapacity(count)
        for point in self { Characters.lower(point, into: &said) }
        return said
    }

    /// The words between spaces of any kind, as Python's `split()`.
    var words: [Text] { split(whereSeparator: Characters.isSpace).map(Text.init) }

    /// The text without spaces at its end.
    var withoutEndSpaces: Text {
        var end = count
        while end > 0, Characters.isSpace(self[end - 1]) { end -= 1 }
        return end == count ? self : Text(self[..<end])
    }

    /// The text between two places, as far as it goes.
    func slice(_ start: Int, _ end: Int) -> Text {
        let last = Swift.min(end, count)
        return start < last ? Text(self[start..<last]) : []
    }

    /// The text with single characters replaced, as Python's `translate`.
    func translated(_ table: [UInt32: UInt32]) -> Text { map { table[$0] ?? $0 } }

    /// The first place at or after `start` where another text stands, or nil.
    func first(of other: Text, from start: Int = 0) -> Int? {
        guard !other.isEmpty, count >= other.count else { return nil }
        for at in stride(from: start, through: count - other.count, by: 1) where holds(other, at: at) { return at }
        return nil
    }

    /// The last place where another text stands, or nil.
    func last(of other: Text) -> Int? {
        guard !other.isEmpty, count >= other.count else { return nil }
        for at in stride(from: count - other.count, through: 0, by: -1) where holds(other, at: at) { return at }
        return nil
    }

    /// Whether another text stands at a place.
    public func holds(_ other: Text, at place: Int) -> Bool {
        guard place + other.count <= count else { return false }
        for at in other.indices where self[place + at] != other[at] { return false }
        return true
    }
}

/// Join texts with another between them.
func joined(_ texts: [Text], by separator: Text) -> Text { Text(texts.joined(separator: separator)) }

/// What Python says of single characters.
enum Characters {
    private static let spaces = CodeRanges([
        0x09...0x0d, 0x1c...0x20, 0x85...0x85, 0xa0...0xa0, 0x1680...0x1680, 0x2000...0x200a, 0x2028...0x2029, 0x202f...0x202f,
        0x205f...0x205f, 0x3000...0x3000,
    ])

    static func isSpace(_ point: UInt32) -> Bool {
        point < 0x80 ? point == 0x20 || (point >= 9 && point <= 13) || (point >= 0x1c && point <= 0x1f) : spaces.contains(point)
    }

    static func isLetter(_ point: UInt32) -> Bool {
        if point < 0x80 { return (point | 0x20) >= 0x61 && (point | 0x20) <= 0x7a }
        switch category(point) {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
        default: return false
        }
    }

    /// A digit of any script.
    static func isDigit(_ point: UInt32) -> Bool {
        point < 0x80 ? point >= 0x30 && point <= 0x39 : category(point) == .decimalNumber
    }

    /// What `\w` is: letters, numbers and the low line.
    static func isWord(_ point: UInt32) -> Bool {
        if point < 0x80 { return isLetter(point) || isDigit(point) || point == 0x5f }
        switch category(point) {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    /// What `[^\W\d_]` is: a word's characters but for digits and the low line.
    static func isWordLetter(_ point: UInt32) -> Bool {
        point < 0x80 ? isLetter(point) : isWord(point) && category(point) != .decimalNumber
    }

    static func isMark(_ point: UInt32) -> Bool {
        switch category(point) {
        case .nonspacingMark, .spacingMark, .enclosingMark: return true
        default: return false
        }
    }

    static func isPunctuation(_ point: UInt32) -> Bool {
        switch category(point) {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation: return true
        case .initialPunctuation, .finalPunctuation, .otherPunctuation: return true
        default: return false
        }
    }

    static func isSymbol(_ point: UInt32) -> Bool {
        switch category(point) {
        case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: return true
        default: return false
        }
    }

    static func isSeparator(_ point: UInt32) -> Bool {
        switch category(point) {
        case .spaceSeparator, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    /// Categories C and Z.
    static func isHiddenOrGap(_ point: UInt32) -> Bool {
        switch category(point) {
        case .control, .format, .surrogate, .privateUse, .unassigned: return true
        default: return isSeparator(point)
        }
    }

    static func isUpper(_ point: UInt32) -> Bool { Unicode.Scalar(point)?.properties.isUppercase ?? false }

    static func category(_ point: UInt32) -> Unicode.GeneralCategory {
        Unicode.Scalar(point)?.properties.generalCategory ?? .surrogate
    }

    static func lower(_ point: UInt32, into said: inout Text) {
        if point < 0x80 {
            said.append(point >= 0x41 && point <= 0x5a ? point + 0x20 : point)
        } else if let scalar = Unicode.Scalar(point) {
            said.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars.lazy.map(\.value))
        } else {
            said.append(point)
        }
    }

    /// The length of a character in UTF-8.
    static func size(_ point: UInt32) -> Int { 1 + (point > 0x7f ? 1 : 0) + (point > 0x7ff ? 1 : 0) + (point > 0xffff ? 1 : 0) }
}
