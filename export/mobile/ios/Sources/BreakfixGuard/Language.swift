/// Tells English from letters in any other order, by common words and by which letters follow each other.
///
/// Knows nothing of codes and ciphers. Other scripts count as language where they keep to themselves.

struct Language: Sendable {
    /// Words that English text of any length has some of.
    let common: Set<Text>
    private let sequences: Set<Text>
    /// The weight of two neighbouring letters, by rows of 27; those of other alphabets say nothing.
    private let pairs: [Double]
    private static let edge = 26
    private static let foreign: UInt32 = 0x240
    private static let stopAfter = Pattern(#"\w[.,;:?!](?!\S)"#)
    private static let stopBefore = Pattern(#"(?<!\S)[.,;:?!]\w"#)

    init(_ tables: Part) throws {
        common = Set(try tables["common"].texts())
        sequences = Set(try tables["sequences"].texts())
        pairs = try tables["pairs"].texts().flatMap { row in row.map { (Double($0) - 0x30 - 6) * 0.7 } }
        guard pairs.count == 27 * 27 else { throw GuardError("the guard's tables.language.pairs is no table of 27 letters") }
    }

    /// Where each word is: letters alone.
    static func wordSpans(_ text: Text) -> [Range<Int>] {
        var spans: [Range<Int>] = []
        var at = 0
        while at < text.count {
            guard Characters.isWordLetter(text[at]) else {
                at += 1
                continue
            }
            let start = at
            while at < text.count, Characters.isWordLetter(text[at]) { at += 1 }
            spans.append(start..<at)
        }
        return spans
    }

    static func words(_ text: Text) -> [Text] { wordSpans(text).map { Text(text[$0]) } }

    /// Tell whether a text reads as English, or as writing in a script that English does not use.
    func isLanguage(_ text: Text) -> Bool {
        let seen = text.filter { ![0x20, 0x09, 0x0d, 0x0a].contains($0) }
        let words = Self.words(text)
        let letters = words.reduce(0) { $0 + $1.count }
        let marks = seen.reduce(0) { $0 + ($1 > 0x7f && Characters.isMark($1) ? 1 : 0) }
        guard seen.count >= 4, seen.isPrintable, Double(letters + marks) >= (letters < 12 ? 0.8 : 0.5) * Double(seen.count) else {
            return false
        }
        let foreign = seen.filter { $0 > Self.foreign && (Characters.isLetter($0) || Characters.isMark($0)) }
        if 2 * foreign.count > seen.count {
            return foreign.count >= 4 && Double(Self.mostInOneBlock(foreign)) > 0.8 * Double(foreign.count)
        }
        if hasSpacesOfWriting(seen, words.count, letters) { return true }
        let known = words.reduce(0) { $0 + (isCommon($1) ? $1.count + 1 : 0) }
        let least = Double(letters + words.count) * (letters > 11 ? 0.25 : 0.4)
        return words.reduce(0.0) { $0 + weight($1) } + Double(known) / 2 > least && least > 0
    }

    /// Tell whether these are words of some language in Latin letters: chance sets no spaces.
    private func hasSpacesOfWriting(_ seen: Text, _ words: Int, _ letters: Int) -> Bool {
        guard letters > 19, Double(letters) > 0.8 * Double(seen.count) else { return false }
        let vowels = seen.lowered.reduce(0) { $0 + ([0x61, 0x65, 0x69, 0x6f, 0x75].contains($1) ? 1 : 0) }
        let each = Double(letters) / Double(words)
        let share = Double(vowels) / Double(letters)
        return each > 2 && each < 12 && share > 0.2 && share < 0.6
    }

    /// Chance hits every script in turn; a writer keeps to one, or to the many blocks of East Asia.
    private static func mostInOneBlock(_ points: Text) -> Int {
        var blocks: [UInt32: Int] = [:]
        for point in points { blocks[min(point >> 8, 0x2e), default: 0] += 1 }
        return blocks.values.max() ?? 0
    }

    func isCommon(_ word: Text) -> Bool { common.contains(word.lowered) }

    /// Return how much likelier these letters make an English word than by chance, as a logarithm.
    func weight(_ word: Text) -> Double {
        var (sum, before) = (0.0, Self.edge)
        for point in word.lowered {
            let letter = point >= 0x61 && point <= 0x7a ? Int(point - 0x61) : -1
            if before >= 0 && letter >= 0 { sum += pairs[before * 27 + letter] }
            before = letter
        }
        return before >= 0 ? sum + pairs[before * 27 + Self.edge] : sum
    }

    /// Return the weight of a word, common ones set above the rest: e to this is how likely it is English.
    func merit(_ word: Text) -> Double { weight(word) + (isCommon(word) ? 2 : 0) }

    /// Return how well the words of a text follow each other; the same words the other way round have less of it.
    func order(_ text: Text) -> Int {
        let words = Self.words(text).map(\.lowered)
        let followed = zip(words, words.dropFirst()).reduce(0) { $0 + (sequences.contains($1.0 + [0x20] + $1.1) ? 1 : 0) }
        let stops = Self.stopAfter.matches(text).count - Self.stopBefore.matches(text).count
        let (first, last) = (text.first ?? 0, text.words.last?.first ?? 0)
        return 2 * followed + 2 * stops + (Characters.isUpper(first) ? 1 : 0) - (Characters.isUpper(last) ? 1 : 0)
    }
}
