/// What is written in code: base64, hex, Morse, escapes, leetspeak, ciphers, each run read in place where it stands.
///
/// Knows nothing of categories or models. A reading counts only if it is language, or once more in code that says something.

struct Decoder: Sendable {
    /// The least characters of what may be written in code again.
    private static let leastNested = 12
    /// A run as long as this, broken into lines, goes on behind a space.
    private static let line = 40

    private let language: Language
    private let ciphers: Ciphers
    private let leetspeak: Leetspeak
    private let hiddenCodes, plainCodes: [Code]
    private let piece: Int

    init(_ tables: Part, ciphers: Part, _ language: Language) throws {
        self.language = language
        self.ciphers = try Ciphers(ciphers, language)
        leetspeak = try Leetspeak(ciphers, language)
        piece = try tables["piece"].int()
        hiddenCodes = try BreakfixGuard.hiddenCodes(tables)
        plainCodes = try BreakfixGuard.plainCodes(tables)
    }

    /// Return what must be read before anything is made plain: tags, variation selectors, Morse, upside-down letters.
    /// What comes out may be written in code again, `nested` times.
    func hidden(_ text: Text, nested: Int = 1) throws -> [Edit] {
        let (edits, rest) = try read(text, hiddenCodes, nested)
        return Self.ordered(edits + ciphers.upsideDown(rest))
    }

    /// Return what a plain text says in codes, ciphers and leetspeak, in order and without overlaps.
    func encoded(_ text: Text, nested: Int = 1) throws -> [Edit] {
        let (edits, rest) = try read(text, plainCodes, nested)
        let found = leetspeak.read(rest)
        return Self.ordered(edits + found + ciphers.read(Self.blanked(rest, found)))
    }

    /// Return what these codes read, and the text with blanks in its place.
    private func read(_ text: Text, _ codes: [Code], _ nested: Int) throws -> ([Edit], Text) {
        let reads: Reads = { says in
            if language.isLanguage(says) { return true }
            guard nested > 0, says.count >= Self.leastNested, says.isAscii, says.isPrintable else { return false }
            return try !hidden(says, nested: nested - 1).isEmpty || !encoded(says, nested: nested - 1).isEmpty
        }
        var (edits, rest) = ([Edit](), text)
        for code in codes {
            let found = try runs(rest, code, reads)
            rest = Self.blanked(rest, found)
            edits += found
        }
        return (edits, rest)
    }

    private func runs(_ text: Text, _ code: Code, _ reads: Reads) throws -> [Edit] {
        var found: [Edit] = []
        for match in code.runs(text, piece: piece) {
            guard let says = try code.read(match.said, reads) else { continue }
            // A long run was broken into lines, which plain spelling joined by spaces.
            if let last = found.last, last.end == match.start - 1, last.end - last.start >= Self.line, text[last.end] == 0x20 {
                found[found.count - 1].end = match.start
            }
            found.append(Edit(match.start, match.start + match.said.withoutEndSpaces.count, says, how: code.how))
        }
        return found
    }

    private static func blanked(_ text: Text, _ edits: [Edit]) -> Text {
        var rest = text
        for edit in edits {
            for at in edit.start..<edit.end { rest[at] = 0x0a }
        }
        return rest
    }

    private static func ordered(_ edits: [Edit]) -> [Edit] { edits.sorted { ($0.start, $0.end) < ($1.start, $1.end) } }
}
