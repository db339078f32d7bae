/// JSON as the bundle writes it, its texts as code points.
///
/// Foundation's reader refuses lone surrogates, and its keys are strings, of which Swift holds two equal that are spelled
/// differently: tables of characters would lose entries. Knows nothing of what it reads.

/// A value of JSON.
public enum Json: Equatable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case text(Text)
    case list([Json])
    case object([Text: Json])

    /// Read a whole file. Throws GuardError where it is no JSON.
    public init(_ bytes: [UInt8]) throws {
        var reader = JsonReader(bytes: bytes)
        self = try reader.whole()
    }

    /// What stands under a name, or null.
    public subscript(name: String) -> Json { self[Text(name)] }

    /// What stands under a name, or null.
    public subscript(name: Text) -> Json {
        if case .object(let values) = self { return values[name] ?? .null }
        return .null
    }

    public var text: Text? { if case .text(let text) = self { return text } else { return nil } }
    public var string: String? { text?.string }
    public var number: Double? { if case .number(let number) = self { return number } else { return nil } }
    public var bool: Bool? { if case .bool(let bool) = self { return bool } else { return nil } }
    public var list: [Json]? { if case .list(let list) = self { return list } else { return nil } }
    public var object: [Text: Json]? { if case .object(let object) = self { return object } else { return nil } }

    /// A number without a fraction, or nil.
    public var int: Int? { number.flatMap { Int(exactly: $0) } }
}

private struct JsonReader {
    private static let deepest = 64
    let bytes: [UInt8]
    private var at = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func whole() throws -> Json {
        let value = try self.value(depth: 0)
        skipSpaces()
        guard at == bytes.count else { throw broken() }
        return value
    }

    private func broken() -> GuardError { GuardError("a file is no JSON (byte \(at)); make the bundle again") }

    private func peek() -> UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpaces() {
        while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
    }

    private mutating func take(_ byte: Character) throws {
        skipSpaces()
        guard peek() == byte.asciiValue else { throw broken() }
        at += 1
    }

    private mutating func found(_ byte: Character) -> Bool {
        skipSpaces()
        guard peek() == byte.asciiValue else { return false }
        at += 1
        return true
    }

    private mutating func value(depth: Int) throws -> Json {
        guard depth < Self.deepest else { throw broken() }
        skipSpaces()
        switch peek() {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try list(depth: depth)
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func object(depth: Int) throws -> Json {
        try take("{")
        var values: [Text: Json] = [:]
        if found("}") { return .object(values) }
        repeat {
            skipSpaces()
            let name = try text()
            try take(":")
            values[name] = try value(depth: depth + 1)
        } while found(",")
        try take("}")
        return .object(values)
    }

    private mutating func list(depth: Int) throws -> Json {
        try take("[")
        var values: [Json] = []
        if found("]") { return .list(values) }
        repeat { values.append(try value(depth: depth + 1)) } while found(",")
        try take("]")
        return .list(values)
    }

    private mutating func word(_ word: String, _ value: Json) throws -> Json {
        guard bytes[at...].starts(with: word.utf8) else { throw broken() }
        at += word.utf8.count
        return value
    }

    private mutating func number() throws -> Double {
        let start = at
        while let byte = peek(), (0x30...0x39).contains(byte) || [0x2b, 0x2d, 0x2e, 0x45, 0x65].contains(byte) { at += 1 }
        guard let number = Double(String(decoding: bytes[start..<at], as: UTF8.self)), number.isFinite else { throw broken() }
        return number
    }

    private mutating func text() throws -> Text {
        try take("\"")
        var said = Text()
        while let byte = peek(), byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw broken() }
            if byte == UInt8(ascii: "\\") {
                try escape(into: &said)
            } else if byte < 0x80 {
                said.append(UInt32(byte))
                at += 1
            } else {
                let size = Bytes.character(bytes[...], at)
                guard size > 0 else { throw broken() }
                said.append(contentsOf: Bytes.text(bytes[at..<at + size]))
                at += size
            }
        }
        try take("\"")
        return said
    }

    private mutating func escape(into said: inout Text) throws {
        at += 1
        guard let byte = peek() else { throw broken() }
        at += 1
        switch byte {
        case UInt8(ascii: "n"): said.append(0x0a)
        case UInt8(ascii: "t"): said.append(0x09)
        case UInt8(ascii: "r"): said.append(0x0d)
        case UInt8(ascii: "b"): said.append(0x08)
        case UInt8(ascii: "f"): said.append(0x0c)
        case UInt8(ascii: "u"): try unit(into: &said)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): said.append(UInt32(byte))
        default: throw broken()
        }
    }

    /// Take four hexadecimal digits; a low half of a surrogate pair joins a high one before it, if that was escaped as well.
    private mutating func unit(into said: inout Text) throws {
        let unit = try hex()
        let second = at
        if (0xd800..<0xdc00).contains(unit), at + 1 < bytes.count, bytes[at] == 0x5c, bytes[at + 1] == 0x75 {
            at += 2
            let low = try hex()
            if (0xdc00..<0xe000).contains(low) {
                said.append(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
                return
            }
            at = second
        }
        said.append(unit)
    }

    private mutating func hex() throws -> UInt32 {
        guard at + 4 <= bytes.count, bytes[at..<at + 4].allSatisfy(Bytes.isHex) else { throw broken() }
        let unit = bytes[at..<at + 4].reduce(0) { $0 << 4 | UInt32(Bytes.digit($1)) }
        at += 4
        return unit
    }
}
