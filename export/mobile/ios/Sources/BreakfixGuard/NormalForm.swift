/// Unicode's normal forms. Those of assigned characters never change from version to version.
///
/// Foundation tells what single characters and pairs become, and is not trusted with pairs that do not come apart again. It is not
/// asked for whole texts: on Linux it leaves letters of Hangul apart, and marks unordered that come out of others.

import Foundation

enum NormalForm {
    private static let leads: ClosedRange<UInt32> = 0x1100...0x1112
    private static let vowels: ClosedRange<UInt32> = 0x1161...0x1175
    private static let trails: ClosedRange<UInt32> = 0x11a8...0x11c2
    private static let syllables: ClosedRange<UInt32> = 0xac00...0xd7a3
    private static let jamo: ClosedRange<UInt32> = 0x1100...0x11ff
    /// Nothing below it joins the character before.
    private static let firstJoining: UInt32 = 0x300

    /// NFKC.
    static func compatible(_ text: Text) -> Text {
        if text.isAscii { return text }
        return composed(ordered(text.flatMap { parts($0) { $0.decomposedStringWithCompatibilityMapping } }))
    }

    /// NFD.
    static func decomposed(_ text: Text) -> Text {
        if text.isAscii { return text }
        return ordered(text.flatMap { parts($0) { $0.decomposedStringWithCanonicalMapping } })
    }

    /// What a character comes apart into; a lone surrogate is itself.
    private static func parts(_ point: UInt32, _ form: (String) -> String) -> Text {
        guard point > 0x7f, let scalar = Unicode.Scalar(point) else { return [point] }
        return Text(form(String(scalar)))
    }

    /// Sort the marks that follow each character by their class, those of one class as they come.
    private static func ordered(_ text: Text) -> Text {
        var said = text
        for at in said.indices.dropFirst() {
            let point = said[at]
            let own = rank(point)
            var place = at
            while own > 0, place > 0, rank(said[place - 1]) > own {
                said[place] = said[place - 1]
                place -= 1
            }
            said[place] = point
        }
        return said
    }

    private static func rank(_ point: UInt32) -> UInt8 {
        point < firstJoining ? 0 : Unicode.Scalar(point)?.properties.canonicalCombiningClass.rawValue ?? 0
    }

    /// Join what can be joined with the character that begins a run, where no mark of its own class or none stands between.
    private static func composed(_ text: Text) -> Text {
        var (said, starter, last) = (Text(), -1, UInt8(0))
        for point in text {
            let own = rank(point)
            let isNext = starter == said.count - 1
            if starter >= 0, isNext || (last > 0 && last < own), let one = joined(said[starter], point) {
                said[starter] = one
                continue
            }
            if own == 0 { starter = said.count }
            last = own
            said.append(point)
        }
        return said
    }

    private static func joined(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if leads.contains(first) && vowels.contains(second) {
            return 0xac00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
        }
        if syllables.contains(first) && (first - 0xac00) % 28 == 0 && trails.contains(second) { return first + second - 0x11a7 }
        if first == 0xcca && second == 0xcd5 { return 0xccb }  // the one pair that Foundation on Linux leaves apart
        guard second >= firstJoining, !jamo.contains(second), let one = Unicode.Scalar(first), let other = Unicode.Scalar(second)
        else { return nil }
        var pair = String.UnicodeScalarView()
        pair.append(one)
        pair.append(other)
        let joined = Text(String(pair).precomposedStringWithCanonicalMapping)
        // On Linux a tag and an accent become a letter, which does not come apart into them again.
        return joined.count == 1 && decomposed(joined) == decomposed([first, second]) ? joined[0] : nil
    }
}
