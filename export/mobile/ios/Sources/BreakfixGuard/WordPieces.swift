/// Words and word pieces of a text, each with the characters that it stands for, and what of it goes unread.
///
/// Words are cut and matched by the tables, as the library in Rust does with which the guard was trained. Knows no model.

/// Token ids, the characters of the text that each stands for, and what goes unread of it by script, in weighed bytes.
struct Encoded {
    var ids: [Int] = []
    var places: [(start: Int, end: Int)] = []
    var unread: [[String: Int]] = []

    mutating func add(_ id: Int, _ start: Int, _ end: Int, _ unread: [String: Int]) {
        ids.append(id)
        places.append((start, end))
        self.unread.append(unread)
    }
}

struct WordPieces: Sendable {
    private static let continues = Text("##")
    private static let mostCharacters = 100
    /// The script of a Latin word that one strange letter makes unknown: nobody writes one by chance.
    private static let mixed = "MIXED"
    /// What scripts count as in which the guard was not taught, though it has words for them.
    private static let untaught = "UNTAUGHT"

    /// A stretch of small letters between spaces, and where each was in the text.
    private struct Word {
        var says = Text()
        var ats: [Int] = []
    }

    let start, end: Int
    private let ids: [Text: Int]
    private let unknown, longest: Int
    private let added: [Text]
    private let dropped, punctuation, apart: CodeRanges
    private let exceptions: [UInt32: Text]
    private let scripts: CodeRanges
    private let scriptNames: [String]
    private let longestWord, mostUnread, unknownWeighs: Int
    private let taught: Set<String>
    private let normalizer: Normalizer

    /// - Parameters:
    ///   - vocabulary: tokenizer.json
    ///   - tables: `classifier` of the tables
    ///   - scripts: `unicode.scripts` of the tables
    init(_ vocabulary: Part, _ tables: Part, scripts: Part, _ normalizer: Normalizer) throws {
        self.normalizer = normalizer
        ids = try vocabulary["model"]["vocab"].object().mapValues { try $0.int() }
        added = try vocabulary["added_tokens"].list().map { try $0["content"].text() }.sorted { $0.count > $1.count }
        longest = ids.keys.map(\.count).max() ?? 0
        guard let start = ids[Text("[CLS]")], let end = ids[Text("[SEP]")], let unknown = ids[Text("[UNK]")] else {
            throw GuardError("the guard's tokenizer has no [CLS], [SEP] and [UNK]; make the bundle again")
        }
        (self.start, self.end, self.unknown) = (start, end, unknown)
        let tokenizer = tables["tokenizer"]
        (dropped, punctuation) = (try tokenizer["dropped"].ranges(), try tokenizer["punctuation"].ranges())
        (apart, exceptions) = (try tokenizer["apart"].ranges(), try tokenizer["exceptions"].textsByCharacter())
        (longestWord, mostUnread) = (try tables["longest_word"].int(), try tables["unread"].int())
        unknownWeighs = try tables["unknown"].int()
        taught = Set(try tables["taught"].list().map { try $0.string() })
        let named = try scripts.object().flatMap { name, part in try part.ranges().ranges.map { ($0, name.string) } }
        let ordered = named.sorted { $0.0.lowerBound < $1.0.lowerBound }
        (self.scripts, scriptNames) = (CodeRanges(ordered.map(\.0)), ordered.map(\.1))
    }

    func encode(_ given: Text) -> Encoded {
        let text = given.map { (0xd800..<0xe000).contains($0) ? 0x3f : $0 }
        let (chars, origins) = cut(text)
        var (found, normal) = (Encoded(), [UInt32: Text]())
        var (at, begun) = (0, 0)
        while at < chars.count {
            guard let token = chars[at] == 0x5b ? added.first(where: { chars.holds($0, at: at) }) : nil else {
                at += 1
                continue
            }
            words(chars, origins, begun..<at, &found, &normal)
            let end = at + token.count
            found.add(ids[token] ?? unknown, origins[at], origins[end - 1] + 1, [:])
            (at, begun) = (end, end)
        }
        words(chars, origins, begun..<chars.count, &found, &normal)
        return found
    }

    /// Return the characters with spaces in words that are too long to be read, and where each comes from.
    private func cut(_ text: Text) -> (Text, [Int]) {
        var (chars, origins, run) = (Text(), [Int](), 0)
        for (at, point) in text.enumerated() {
            run = Characters.isSpace(point) ? 0 : run + 1
            if run > longestWord {
                chars.append(0x20)
                origins.append(at)
                run = 1
            }
            chars.append(point)
            origins.append(at)
        }
        return (chars, origins)
    }

    /// Cut a stretch into words, at spaces and around punctuation and ideographs, and add their pieces.
    private func words(
        _ chars: Text, _ origins: [Int], _ range: Range<Int>, _ found: inout Encoded, _ normal: inout [UInt32: Text]
    ) {
        var word = Word()
        for at in range {
            let said = normal[chars[at]] ?? normalized(chars[at])
            normal[chars[at]] = said
            for point in said {
                let isApart = punctuation.contains(point)
                if point == 0x20 || isApart { pieces(&word, chars, origins, &found) }
                if point == 0x20 { continue }
                word.says.append(point)
                word.ats.append(at)
                if isApart { pieces(&word, chars, origins, &found) }
            }
        }
        pieces(&word, chars, origins, &found)
    }

    /// Return what the tokenizer makes of a character: nothing, a space, or small letters without accents.
    private func normalized(_ point: UInt32) -> Text {
        if dropped.contains(point) || Characters.category(point) == .privateUse { return [] }
        if let exception = exceptions[point] { return exception }
        if Characters.isSpace(point) { return [0x20] }
        let said = NormalForm.decomposed([point]).filter { !dropped.contains($0) }.lowered
        return apart.contains(point) ? [0x20] + said + [0x20] : said
    }

    /// Add the longest pieces that a word is made of, from its start; the whole word is unknown where one is missing.
    private func pieces(_ word: inout Word, _ chars: Text, _ origins: [Int], _ found: inout Encoded) {
        guard !word.says.isEmpty else { return }
        var pieces: [(id: Int, start: Int, end: Int)] = []
        var start = 0
        while start < word.says.count {
            guard word.says.count <= Self.mostCharacters, let (id, end) = longestPiece(word.says, start) else {
                pieces = [(unknown, 0, word.says.count)]
                break
            }
            pieces.append((id, start, end))
            start = end
        }
        for (id, start, end) in pieces {
            let (first, last) = (word.ats[start], word.ats[end - 1])
            found.add(id, origins[first], origins[last] + 1, unread(chars[first...last], id == unknown))
        }
        word = Word()
    }

    /// Return the longest piece that begins at a place of a word; none is longer than the longest of the vocabulary.
    private func longestPiece(_ word: Text, _ start: Int) -> (id: Int, end: Int)? {
        for end in stride(from: min(word.count, start + longest), to: start, by: -1) {
            let piece = start > 0 ? Self.continues + word[start..<end] : Text(word[start..<end])
            if let id = ids[piece] { return (id, end) }
        }
        return nil
    }

    /// Count what goes unread of a word; styled and look-alike Latin letters are read in the plain spelling.
    private func unread(_ written: ArraySlice<UInt32>, _ isUnknown: Bool) -> [String: Int] {
        if written.allSatisfy({ $0 < 0x80 }) { return [:] }
        let word = Text(written)
        let letters = (isUnknown ? normalizer.plainForm(word).text : word).filter(Characters.isLetter)
        let strange = letters.filter { $0 > 0x7f }
        if isUnknown && !strange.isEmpty && strange.count < letters.count { return [Self.mixed: mostUnread + 1] }
        var bytes: [String: Int] = [:]
        for point in strange {
            let script = scripts.index(of: point).map { scriptNames[$0] } ?? "?"
            if isUnknown {
                bytes[script, default: 0] += Characters.size(point) * unknownWeighs
            } else if taught.contains(script) {
                bytes[script, default: 0] -= Characters.size(point) * unknownWeighs
            } else {
                bytes[Self.untaught, default: 0] += Characters.size(point)
            }
        }
        return bytes
    }
}
