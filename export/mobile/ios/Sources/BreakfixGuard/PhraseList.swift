/// Phrases to look for in the plain spelling of a text, as whole words in any case, whatever punctuation is between.
///
/// Knows nothing of policies.

struct PhraseList: Sendable {
    /// Words by what may follow them.
    private struct Node: Sendable {
        var next: [Text: Node] = [:]
        /// Whether a phrase ends here.
        var ends = false
    }

    // Writing that sets no spaces: every character is a word.
    private static let unspaced = CodeRanges([
        0xe00...0xeff, 0x1000...0x109f, 0x1780...0x17ff, 0x3040...0x30ff, 0x3400...0x9fff, 0xf900...0xfaff, 0x20000...0x3ffff,
    ])
    private static let signs = Set(Text("#%&@"))
    private static let slack = 64

    private let normalizer: Normalizer
    private let casefold: [UInt32: Text]
    /// A sign counts where it is a part of some phrase: C++ and C# are other words than C.
    private let known: Set<UInt32>
    private let longest: Int
    private var tree = Node()

    /// Take the phrases; one without a word or a sign is never found.
    init(_ phrases: [Text], _ normalizer: Normalizer, casefold: [UInt32: Text]) {
        (self.normalizer, self.casefold) = (normalizer, casefold)
        let spelled = phrases.map { normalizer.plainForm($0).text }
        known = Set(spelled.joined().filter { Self.signs.contains($0) || Characters.isSymbol($0) })
        longest = spelled.map(\.count).max() ?? 0
        for phrase in spelled {
            let words = words(phrase).map(\.word)
            if !words.isEmpty { Self.plant(words[...], &tree) }
        }
    }

    private static func plant(_ words: ArraySlice<Text>, _ node: inout Node) {
        guard let word = words.first else {
            node.ends = true
            return
        }
        plant(words.dropFirst(), &node.next[word, default: Node()])
    }

    /// Return the words of a plain text in small letters, each sign of the phrases one of them.
    private func words(_ text: Text) -> [(word: Text, start: Int, end: Int)] {
        var found: [(word: Text, start: Int, end: Int)] = []
        var at = 0
        while at < text.count {
            let start = at
            if Self.unspaced.contains(text[at]) {
                at += 1
            } else {
                while at < text.count, Self.isInWord(text[at]) { at += 1 }
                if at == start {
                    at += 1
                    if !known.contains(text[start]) { continue }
                }
            }
            found.append((text[start..<at].flatMap(folded), start, at))
        }
        return found
    }

    private static func isInWord(_ point: UInt32) -> Bool {
        point != 0x5f && !unspaced.contains(point) && (Characters.isWord(point) || isScriptMark(point))
    }

    /// The marks that scripts need, and those that stand on any letter.
    private static func isScriptMark(_ point: UInt32) -> Bool {
        ((0x300..<0x1e00).contains(point) || (0xa600..<0xac00).contains(point)) && Characters.isMark(point)
    }

    private func folded(_ point: UInt32) -> Text { casefold[point] ?? [point].lowered }

    /// Return the span of the first phrase in a text, or nil.
    func first(_ text: Text) -> (start: Int, end: Int)? {
        if tree.next.isEmpty { return nil }
        let plain = normalizer.plainForm(text)
        let words = words(plain.text)
        for first in words.indices {
            var node = tree
            for word in words[first...] {
                guard let next = node.next[word.word] else { break }
                if next.ends { return plain.span(words[first].start, word.end) }
                node = next
            }
        }
        return nil
    }

    /// Tell whether a text is one of the phrases and nothing else, not even anything that a reader does not see.
    func matchesWhole(_ text: Text) -> Bool {
        guard text.count <= 2 * longest + Self.slack, text.allSatisfy({ known.contains($0) || Self.isWriting($0) }) else {
            return false
        }
        var node = tree
        for word in words(normalizer.plainForm(text).text) {
            guard let next = node.next[word.word] else { return false }
            node = next
        }
        return node.ends
    }

    /// Tell letters, digits, punctuation, spaces and the marks that scripts need from all that could hide something.
    private static func isWriting(_ point: UInt32) -> Bool {
        if [0x09, 0x0a, 0x0d].contains(point) { return true }
        if Characters.isWord(point) || Characters.isPunctuation(point) || Characters.isSeparator(point) { return true }
        return point > 0x590 && point < 0x1ab0 && isScriptMark(point)
    }
}
