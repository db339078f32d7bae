/// Words that are English when their letters stand for others: ROT13 and its like, Atbash, reversed and upside-down words.
///
/// Knows nothing of categories, models or encodings. Nothing is read but stretches that are clearly more English then.

/// A way to write every letter as another one, or from the end.
private struct Cipher: Sendable {
    let how: String
    /// What each letter stands for.
    let table: [UInt32: UInt32]
    var backwards = false
    /// Letters of the shortest common word that is a sign of this cipher.
    var shortest = 2

    func read(_ text: Text) -> Text {
        let says = table.isEmpty ? text : text.translated(table)
        return backwards ? says.reversed() : says
    }
}

/// Ciphers that are tried together, with the common words as they write them, but for those that are words again.
private struct Family: Sendable {
    let ciphers: [Cipher]
    private(set) var signs: [Text: [Int]] = [:]

    init(_ ciphers: [Cipher], _ common: Set<Text>) {
        self.ciphers = ciphers
        for (number, cipher) in ciphers.enumerated() {
            var writes: [UInt32: UInt32] = [:]
            for (written, says) in cipher.table where writes[says] == nil || Ciphers.turnedSigns.contains(written) {
                writes[says] = written
            }
            for word in common where word.count >= cipher.shortest {
                let letters = word.translated(writes)
                let written = cipher.backwards ? letters.reversed() : letters
                // Of the upside-down letters half are letters as they stand: only the others are a sign.
                let isPlain = common.contains(written) || (cipher.how == Ciphers.turnedHow && written.isAscii)
                if !isPlain { signs[written, default: []].append(number) }
            }
        }
    }
}

struct Ciphers: Sendable {
    fileprivate static let turnedHow = "upside-down"
    fileprivate static let turnedSigns = Set(Text("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ"))
    private static let wholeWord = Pattern(#"(?<![\w@$])[^\W\d_]++(?![\w@$])"#)
    private static let letters = Text("abcdefghijklmnopqrstuvwxyz")

    private struct Word {
        let text: Text
        let start: Int
        let end: Int
    }

    private struct Found {
        let gain: Double
        let first: Int
        let last: Int
        let number: Int
    }

    private let language: Language
    private let turned: Family
    private let rotated: Family
    private let gain, gainEach, drop: Double
    private let gap, around, mostScored: Int

    init(_ tables: Part, _ language: Language) throws {
        self.language = language
        (gain, gainEach) = (try tables["gain"].number(), try tables["gain_each"].number())
        (drop, gap) = (try tables["drop"].number(), try tables["gap"].int())
        (around, mostScored) = (try tables["around"].int(), try tables["most_scored"].int())
        let letters = try tables["turned"].characters()
        turned = Family([true, false].map { Cipher(how: Self.turnedHow, table: letters, backwards: $0) }, language.common)
        let shifts = (1..<26).filter { $0 != 13 }
        let known = [
            Cipher(how: "reversed", table: [:], backwards: true),
            Self.alphabet("rot13", Self.rotated(13), shortest: 2),
            Self.alphabet("atbash", Self.letters.reversed(), shortest: 2),
        ]
        // By chance two letters are a word in one or other of the many shifts.
        rotated = Family(known + shifts.map { Self.alphabet("rot\($0)", Self.rotated($0), shortest: 3) }, language.common)
    }

    private static func rotated(_ by: Int) -> Text { Text(letters[by...] + letters[..<by]) }

    private static func alphabet(_ how: String, _ says: Text, shortest: Int) -> Cipher {
        var table: [UInt32: UInt32] = [:]
        for (written, letter) in zip(letters, says) {
            table[written] = letter
            table[written - 0x20] = letter - 0x20
        }
        return Cipher(how: how, table: table, shortest: shortest)
    }

    /// Return the stretches of words that read better in ROT13, another shift, Atbash or backwards.
    func read(_ text: Text) -> [Edit] { ciphered(text, rotated) }

    /// Return the stretches of words that are written in turned letters, the lines turned with them or not.
    func upsideDown(_ text: Text) -> [Edit] { text.contains(where: Self.turnedSigns.contains) ? ciphered(text, turned) : [] }

    /// Return the stretches of words that read better in one of these ciphers, the clearest where they overlap.
    private func ciphered(_ text: Text, _ family: Family) -> [Edit] {
        let words = Self.wholeWord.matches(text).map { Word(text: $0.said, start: $0.start, end: $0.end) }
        let found = self.found(words, family).sorted { one, other in
            // The greatest gain first, then the last in the text, then the last of the ciphers.
            (one.gain, one.first, one.last, one.number) > (other.gain, other.first, other.last, other.number)
        }
        var taken = Array(repeating: false, count: words.count)
        var kept: [Edit] = []
        for each in found where !taken[each.first..<each.last].contains(true) {
            for at in each.first..<each.last { taken[at] = true }
            kept.append(deciphered(text, words[each.first].start, words[each.last - 1].end, family.ciphers[each.number]))
        }
        return kept
    }

    private func found(_ words: [Word], _ family: Family) -> [Found] {
        var places: [(number: Int, at: [Int])] = []
        for (at, word) in words.enumerated() {
            for number in family.signs[word.text.lowered] ?? [] {
                if let known = places.firstIndex(where: { $0.number == number }) {
                    places[known].at.append(at)
                } else {
                    places.append((number, [at]))
                }
            }
        }
        let order = places.indices.sorted { (-places[$0].at.count, $0) < (-places[$1].at.count, $1) }
        var scored = 0
        var found: [Found] = []
        for (number, at) in order.map({ places[$0] }) {
            for (first, last) in ranges(around: at, words.count) {
                scored += last - first
                if scored > mostScored { continue }
                for (gain, begin, end) in stretches(words[first..<last], family.ciphers[number]) {
                    found.append(Found(gain: gain, first: first + begin, last: first + end, number: number))
                }
            }
        }
        return found
    }

    /// Return the ranges of words around these places, joined where they meet.
    private func ranges(around places: [Int], _ count: Int) -> [(Int, Int)] {
        var ranges: [(Int, Int)] = []
        var first = max(places[0] - around, 0)
        var last = first
        for at in places {
            if at - around > last {
                ranges.append((first, last))
                first = at - around
            }
            last = min(at + around + 1, count)
        }
        return ranges + [(first, last)]
    }

    /// Return the stretches of words that gain from a cipher, two or more, a fifth of them common: gain, first word, end.
    private func stretches(_ slice: ArraySlice<Word>, _ cipher: Cipher) -> [(Double, Int, Int)] {
        let words = Array(slice)
        let says = words.map { cipher.read($0.text) }
        let gains = zip(words, says).map { language.merit($1) - language.merit($0.text) }
        var found: [(Double, Int, Int)] = []
        var (begin, end, least, gain, most) = (0, 0, 0, 0.0, 0.0)
        for at in 0...words.count {
            let isCut = at == words.count || (at > 0 && words[at].start - words[at - 1].end > gap)
            if isCut || gain < max(0, most - drop) {
                if isClear(says, begin, end, most) {
                    // Words at the edges that could be either belong to it as well.
                    while begin > least, either(gains[begin - 1], words[begin - 1].text, says[begin - 1]) { begin -= 1 }
                    while end < at, either(gains[end], words[end].text, says[end]) { end += 1 }
                    found.append((most, begin, end))
                    least = end
                }
                (gain, most) = (0, 0)
                least = isCut ? at : least
            }
            if at == words.count { break }
            begin = gain == 0 ? at : begin
            gain += gains[at]
            if gain > most { (most, end) = (gain, at + 1) }
        }
        return found
    }

    private func isClear(_ says: [Text], _ begin: Int, _ end: Int, _ most: Double) -> Bool {
        let count = end - begin
        guard most >= max(gain, gainEach * Double(count)), count > 1 else { return false }
        return 5 * says[begin..<end].filter(language.isCommon).count >= count
    }

    private func either(_ gain: Double, _ word: Text, _ says: Text) -> Bool {
        gain > -Double(word.count) && (language.isCommon(says) || !language.isCommon(word))
    }

    private func deciphered(_ text: Text, _ start: Int, _ end: Int, _ cipher: Cipher) -> Edit {
        let written = text.slice(start, end)
        var readings = [cipher.read(written)]
        if cipher.how == "reversed" {
            // Words may be reversed where they stand, with what is written on to them or without.
            let spans = [Self.spansWithoutSpaces(written), Language.wordSpans(written)]
            readings += spans.map { spans in
                spans.reduce(into: written) { $0.replaceSubrange($1, with: written[$1].reversed()) }
            }
        }
        var best = 0
        let orders = readings.map(language.order)
        for at in orders.indices where orders[at] > orders[best] { best = at }
        return Edit(start, end, readings[best], how: cipher.how, backwards: cipher.backwards && best == 0)
    }

    private static func spansWithoutSpaces(_ text: Text) -> [Range<Int>] {
        text.split(whereSeparator: Characters.isSpace).map { $0.startIndex..<$0.endIndex }
    }
}
