/// Words in which digits and signs stand for letters: h0w, k!ll, 4nsw3r.
///
/// Knows nothing of categories, models or other codes. A number stays one unless it stands among words of leetspeak.

struct Leetspeak: Sendable {
    // Digits and signs in a word, or alone.
    private static let word = Pattern(
        #"(?<![\w@$!|+(€£¢])[a-zA-Z]{0,24}+[0-9@$!|+(€£¢][a-zA-Z0-9@$!|+(€£¢]{0,24}+"#)
    // What stands before and after a word by itself, not a part of a name, a number, an address or a line of code.
    private static let before = Pattern(#"(?<![^\s"'“‘*(\[>,])"#)
    private static let after = Pattern(#"["'”’*)\],;:.?!…]{0,3}(?!\S)"#)
    // Letters and signs that take turns, but not as in a hash.
    private static let turns = Pattern(#"[a-zA-Z][0-9@$!]+[a-zA-Z]|[0-9@$!][a-zA-Z]+[0-9@$!]"#)
    private static let hash = Pattern(#"[0-9a-f]{6,}$"#)
    private static let mostChoices = 4
    private static let wordsBeside = 5

    private let letters: [UInt32: Text]
    private let beside: Int
    private let language: Language

    init(_ tables: Part, _ language: Language) throws {
        letters = try tables["leet"].textsByCharacter()
        beside = try tables["beside"].int()
        self.language = language
    }

    /// Return the words in which digits and signs stand for letters, and what may be such right beside those.
    func read(_ text: Text) -> [Edit] {
        let found = Self.word.matches(text).map { (start: $0.start, word: Self.withoutEndMarks($0.said)) }
        // Where l is written as l, or i as i, the signs for both stand for the other.
        let lowered = Set(found.flatMap { $0.word.lowered })
        let forI = 1 + (lowered.contains(0x6c) ? 2.0 : 0) - (lowered.contains(0x69) ? 3.0 : 0)
        let says = found.map { unleeted($0.word, forI) }
        let sure = zip(found, says).map { each, says in
            isWord(says, 0.35) && Self.takesTurns(each.word) && Self.before.match(text, at: each.start) != nil
                && Self.after.match(text, at: each.start + each.word.count) != nil
        }
        return found.indices.compactMap { at in
            let (start, word) = found[at]
            let around = max(at - Self.wordsBeside, 0)..<min(at + Self.wordsBeside + 1, found.count)
            let near = around.filter { sure[$0] && abs(found[$0].start - start) < beside }.count
            let least = near < 2 || word.allSatisfy(Characters.isDigit) ? 0.35 : -0.2
            guard sure[at] || (near > 0 && isWord(says[at], least)) else { return nil }
            return Edit(start, start + word.count, says[at], how: "leetspeak")
        }
    }

    /// What stands before exclamation marks; a first one belongs to the word.
    private static func withoutEndMarks(_ word: Text) -> Text {
        var end = word.count
        while end > 1, word[end - 1] == 0x21 { end -= 1 }
        return Text(word[..<end])
    }

    private static func takesTurns(_ word: Text) -> Bool { hash.match(word) == nil && turns.isFound(in: word) }

    private func isWord(_ word: Text, _ least: Double) -> Bool {
        language.isCommon(word) || (word.count > 2 && language.weight(word) > least * Double(word.count + 1))
    }

    /// Return the best of what a word may say, in letters alone; empty where there is no such reading.
    private func unleeted(_ word: Text, _ forI: Double) -> Text {
        var choices = word.map { letters[$0] ?? [$0] }
        if choices.filter({ $0.count > 1 }).count > Self.mostChoices { choices = choices.map { [$0[0]] } }
        var readings: [Text] = [[]]
        for choice in choices { readings = readings.flatMap { reading in choice.map { reading + [$0] } } }
        var best: (says: Text, merit: Double)?
        for says in readings {
            let merit = language.merit(says) - forI * Double(says.filter { $0 == 0x6c }.count)
            if merit > best?.merit ?? -.infinity { best = (says, merit) }
        }
        guard let says = best?.says, !says.isEmpty, says.allSatisfy(Characters.isLetter) else { return [] }
        return says
    }
}
