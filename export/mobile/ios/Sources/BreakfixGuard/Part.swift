/// A part of a file of the guard that knows its own name, so that what is missing in it is refused by that name.
///
/// A comparison with what is missing would let a text pass: so what is not there is found out before anything is judged.

struct Part {
    let value: Json
    let name: String

    subscript(key: String) -> Part { Part(value: value[key], name: "\(name).\(key)") }

    private func missing() -> GuardError {
        GuardError("the guard's \(name) is missing or no value of its kind; make the bundle again")
    }

    func number() throws -> Double {
        guard let number = value.number else { throw missing() }
        return number
    }

    func int() throws -> Int {
        guard let int = value.int else { throw missing() }
        return int
    }

    func bool() throws -> Bool {
        guard let bool = value.bool else { throw missing() }
        return bool
    }

    func text() throws -> Text {
        guard let text = value.text else { throw missing() }
        return text
    }

    func string() throws -> String { try text().string }

    func list() throws -> [Part] {
        guard let list = value.list else { throw missing() }
        return list.map { Part(value: $0, name: name) }
    }

    func texts() throws -> [Text] { try list().map { try $0.text() } }

    func object() throws -> [Text: Part] {
        guard let object = value.object else { throw missing() }
        return Dictionary(uniqueKeysWithValues: object.map { ($0, Part(value: $1, name: "\(name).\($0.string)")) })
    }

    /// A table from characters to texts.
    func textsByCharacter() throws -> [UInt32: Text] {
        var table: [UInt32: Text] = [:]
        for (key, part) in try object() {
            guard key.count == 1 else { throw missing() }
            table[key[0]] = try part.text()
        }
        return table
    }

    /// A table from characters to characters.
    func characters() throws -> [UInt32: UInt32] {
        try textsByCharacter().mapValues { text in
            guard text.count == 1 else { throw missing() }
            return text[0]
        }
    }

    /// Code points as [first, last] pairs in ascending order.
    func ranges() throws -> CodeRanges {
        CodeRanges(
            try list().map { pair in
                let ends = try pair.list().map { try $0.int() }
                guard ends.count == 2, ends[0] <= ends[1], ends[0] >= 0, ends[1] <= 0x10ffff else { throw missing() }
                return UInt32(ends[0])...UInt32(ends[1])
            })
    }
}

/// Code points as ascending ranges.
struct CodeRanges: Sendable {
    let ranges: [ClosedRange<UInt32>]

    init(_ ranges: [ClosedRange<UInt32>]) {
        self.ranges = ranges
    }

    func contains(_ point: UInt32) -> Bool { index(of: point) != nil }

    /// Which range holds a code point, or nil.
    func index(of point: UInt32) -> Int? {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < point { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].lowerBound <= point ? low : nil
    }
}
