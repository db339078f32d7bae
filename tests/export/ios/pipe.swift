/// What the tests' programs share: JSON lines in and out, and the model at the other end of them.

import Foundation

@testable import BreakfixGuard

func readRequest() throws -> Json? {
    guard let line = readLine() else { return nil }
    return try Json(Array(line.utf8))
}

func write(_ value: Json) {
    FileHandle.standardOutput.write(Data((String(decoding: encoded(value), as: UTF8.self) + "\n").utf8))
}

/// JSON in ASCII: a lone surrogate is no UTF-8.
func encoded(_ value: Json) -> [UInt8] {
    switch value {
    case .null: return Array("null".utf8)
    case .bool(let bool): return Array("\(bool)".utf8)
    case .number(let number): return Array((Int(exactly: number).map { "\($0)" } ?? "\(number)").utf8)
    case .list(let list): return Array("[".utf8) + Array(list.map(encoded).joined(separator: [0x2c])) + Array("]".utf8)
    case .object(let object):
        let pairs = object.map { encoded(.text($0)) + [0x3a] + encoded($1) }
        return Array("{".utf8) + Array(pairs.joined(separator: [0x2c])) + Array("}".utf8)
    case .text(let text):
        let units = text.flatMap { point -> [UInt32] in
            point > 0xffff ? [0xd800 + (point - 0x10000) >> 10, 0xdc00 + (point - 0x10000) & 0x3ff] : [point]
        }
        let escaped = units.map { unit in
            (0x20..<0x7f).contains(unit) && unit != 0x22 && unit != 0x5c
                ? String(UnicodeScalar(UInt8(unit))) : "\\u" + String(format: "%04x", unit)
        }
        return Array(("\"" + escaped.joined() + "\"").utf8)
    }
}

func object(_ values: [String: Json]) -> Json { .object(Dictionary(uniqueKeysWithValues: values.map { (Text($0), $1) })) }
func list(_ numbers: [Int]) -> Json { .list(numbers.map { .number(Double($0)) }) }
func text(_ string: String) -> Json { .text(Text(string)) }

/// The model on the other side of the pipe.
struct Piped: HeadScores {
    var breaks = ""

    func heads(ids: [Int64], types: [Int64]) throws -> [Float] {
        if breaks == "throws" { throw GuardError("out of memory") }
        write(object(["ids": list(ids.map(Int.init)), "types": list(types.map(Int.init))]))
        let heads = try readRequest()?.list?.compactMap(\.number).map(Float.init) ?? []
        return breaks == "nan" ? heads.map { _ in .nan } : heads
    }
}
