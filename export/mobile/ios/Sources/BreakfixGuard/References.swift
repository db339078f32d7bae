/// Percent signs and HTML's character references, undone as Python's `unquote` and `html.unescape` do.
///
/// Knows nothing of language.

struct References: Sendable {
    private static let reference = Pattern(#"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)"#)
    private static let ampersand: UInt32 = 0x26

    private let named: [Text: Text]
    /// The numbers that stand for another character than their own, or for none.
    private let numbered: [UInt32: Text]

    init(_ tables: Part) throws {
        named = try tables["named"].object().mapValues { try $0.text() }
        var numbered: [UInt32: Text] = [:]
        for (number, part) in try tables["numbered"].object() {
            guard let number = UInt32(number.string) else { throw GuardError("the guard's \(part.name) has no number") }
            numbered[number] = try part.text()
        }
        self.numbered = numbered
    }

    /// Undo HTML's character references as HTML 5 does.
    func unescape(_ text: Text) -> Text {
        guard text.contains(Self.ampersand) else { return text }
        return Self.reference.replacing(text) { read($0.group(1)) }
    }

    private func read(_ reference: Text) -> Text {
        if reference[0] == 0x23 {
            let isHex = reference.count > 1 && reference[1] | 0x20 == 0x78
            return number(reference[(isHex ? 2 : 1)...].filter { $0 != 0x3b }, radix: isHex ? 16 : 10)
        }
        for end in stride(from: reference.count, to: 1, by: -1) {
            if let said = named[Text(reference[..<end])] { return said + reference[end...] }
        }
        return [Self.ampersand] + reference
    }

    private func number(_ digits: Text, radix: UInt32) -> Text {
        let beyond: UInt32 = 0x110000
        let number = digits.reduce(UInt32(0)) { min($0 * radix + UInt32(Bytes.digit(UInt8($1))), beyond) }
        if let said = numbered[number] { return said }
        return (0xd800..<0xe000).contains(number) || number == beyond ? [0xfffd] : [number]
    }

    /// Undo percent signs; bytes that are no UTF-8 become U+FFFD.
    static func unquote(_ text: Text) -> Text {
        guard text.contains(0x25) else { return text }
        var said = Text()
        var bytes: [UInt8] = []
        var at = 0
        while at < text.count {
            let point = text[at]
            if point > 0x7f {
                said += Bytes.text(bytes[...])
                bytes.removeAll()
                said.append(point)
            } else if point == 0x25, at + 2 < text.count, let byte = byte(text[at + 1], text[at + 2]) {
                bytes.append(byte)
                at += 2
            } else {
                bytes.append(UInt8(point))
            }
            at += 1
        }
        return said + Bytes.text(bytes[...])
    }

    private static func byte(_ high: UInt32, _ low: UInt32) -> UInt8? {
        guard high < 0x80, low < 0x80, Bytes.isHex(UInt8(high)), Bytes.isHex(UInt8(low)) else { return nil }
        return Bytes.digit(UInt8(high)) << 4 | Bytes.digit(UInt8(low))
    }
}
