/// Other readings of the same text: what a reader sees or a model decodes, whatever the code points are.
///
/// Knows nothing of categories or models. Every function is linear in the length of its input.

struct Normalizer: Sendable {
    private static let space: UInt32 = 0x20
    private static let anySpaces = Pattern("[ .\\-_*]+")
    // Letters that stand apart: in words that stand further or otherwise apart ("h o w  t o", "h.o.w t.o"), evenly (four or
    // more with the same between them: "b.o.m.b"), or with any one sign between; each up to a letter that no word goes on behind.
    private static let spacedWords = Pattern(#"(?<!\w)[^\W_](?:[ .\-_*]{1,4}[^\W_]){3,}"#)
    private static let evenlySpaced = Pattern(#"(?<!\w)[^\W_]([ .\-_*]+)[^\W_](?:\1[^\W_]){2,}"#)
    private static let spaced = Pattern(#"(?<!\w)[^\W_](?:[ .\-_*][^\W_]){3,}"#)
    private static let lastLetter = Pattern(#"[^\W_](?!\w)"#)
    private static let spaces = Pattern(" {2,}|^ | $")
    // Characters that NFKC changes by themselves (c), that may join the one before (j), both (b) or neither (.). The runs are
    // short: the order of marks is settled in quadratic time.
    private static let compatible = Pattern("(?:[cb][jb]{0,30}){1,16}|.[jb]{1,30}")
    private static let kinds = Text(".cjb")
    // Accents stacked on any letter, variation selectors and empty letters; the marks a script needs are not among them.
    private static let hiding = CodeRanges([
        0x300...0x36f, 0x115f...0x1160, 0x180b...0x180f, 0x1ab0...0x1aff, 0x1dc0...0x1dff, 0x20d0...0x20ff, 0x2800...0x2800,
        0xfe00...0xfe0f, 0xfe20...0xfe2f, 0xe0100...0xe01ef,
    ])
    private static let otherScripts = CodeRanges([0x370...0x58f, 0x13a0...0x13fd, 0xab70...0xabbf])

    private let decoder: Decoder
    private let combining: CodeRanges
    private let pictured, phonetic, lookalikes: [UInt32: UInt32]
    private let joining: Set<UInt32>
    private let layers, long, block, longest, around: Int

    init(_ tables: Part, combining: Part, _ decoder: Decoder) throws {
        self.decoder = decoder
        self.combining = try combining.ranges()
        (pictured, phonetic) = (try tables["pictured"].characters(), try tables["phonetic"].characters())
        (lookalikes, joining) = (try tables["lookalikes"].characters(), Set(try tables["joining"].text()))
        (layers, long, block) = (try tables["layers"].int(), try tables["long"].int(), try tables["block"].int())
        (longest, around) = (try tables["longest"].int(), try tables["around"].int())
    }

    /// Return the raw text and each other reading of it that is language; the guard judges by the worst of them.
    /// They are four at most, and two of a long text: itself and what else can be read in it.
    func forms(_ text: Text) throws -> [Form] {
        let raw = Form.raw(text)
        let bare = plain(raw)
        var readings = [raw, bare]
        var (reading, isRaw) = (raw, true)
        for _ in 0..<layers {
            let shown = try decoder.hidden(reading.text)
            let base = shown.isEmpty ? (isRaw ? bare : plain(reading)) : plain(reading.edited(shown))
            let edits = try decoder.encoded(base.text)
            let isPlain = isRaw && shown.isEmpty && edits.isEmpty
            reading = base.edited(edits)
            readings.append(reading)
            if isPlain { break }
            isRaw = false
            reading = text.count > long ? reading.excerpt(of: raw, block: block) : reading
        }
        if text.count > long { readings = [raw, readings[readings.count - 1].excerpt(of: raw, block: block)] }
        return Self.different(readings)
    }

    /// Spaces alone make no other reading.
    private static func different(_ readings: [Form]) -> [Form] {
        var known: Set<Text> = []
        return readings.enumerated().compactMap { number, form in
            guard number == 0 || !form.text.isEmpty else { return nil }
            return known.insert(joined(form.text.words, by: [space])).inserted ? form : nil
        }
    }

    /// Return the plain spelling of a text together with where it comes from: compatibility characters, invisible characters,
    /// look-alike letters and s p a c e d letters undone.
    func plainForm(_ text: Text) -> Form { plain(Form.raw(text)) }

    private func plain(_ form: Form) -> Form {
        let pictured = form.saying(form.text.translated(self.pictured))
        // Only when what is invisible is gone do some neighbours meet.
        var shown = compatible(pictured)
        if let visible = Self.visible(shown) { shown = compatible(visible) }
        shown = shown.saying(shown.text.map { Characters.isSpace($0) ? Self.space : $0 })
        shown = Self.together(Self.together(shown, Self.spacedWords, Self.parted), Self.evenlySpaced, Self.joinedLetters)
        let length = shown.text.count
        shown = shown.edited(
            Self.spaces.matches(shown.text).map { found in
                Edit(found.start, found.end, found.start > 0 && found.end < length ? [Self.space] : [], how: "")
            })
        shown = latin(Self.together(shown, Self.spaced, Self.joinedLetters))
        if shown.text == form.text { return form }
        return Form(text: shown.text, starts: shown.starts, how: form.how == "raw" ? "plain" : form.how)
    }

    /// Apply NFKC to the characters that it changes, together with the marks that follow them, and to any with marks.
    private func compatible(_ form: Form) -> Form {
        if form.text.isAscii { return form }
        var known: [UInt32: UInt32] = [:]
        let kinds = form.text.map { point -> UInt32 in
            if point < 0x80 { return Self.kinds[0] }
            if let kind = known[point] { return kind }
            let kind = self.kind(point)
            known[point] = kind
            return kind
        }
        if kinds.allSatisfy({ $0 == Self.kinds[0] }) { return form }
        return form.edited(
            Self.compatible.matches(kinds).map { found in
                Edit(found.start, found.end, NormalForm.compatible(form.text.slice(found.start, found.end)), how: "")
            })
    }

    private func kind(_ point: UInt32) -> UInt32 {
        let said = NormalForm.compatible([point])
        let first = said.first ?? point
        let joins = combining.contains(first) || (0x1160...0x11ff).contains(first) || joining.contains(first)
        // What takes many letters is a whole phrase and hides none.
        let changes = said != [point] && said.count <= longest
        return Self.kinds[(changes ? 1 : 0) + (joins ? 2 : 0)]
    }

    /// Return the form without what is invisible, nil where all can be seen.
    private static func visible(_ form: Form) -> Form? {
        func isGone(_ point: UInt32) -> Bool {
            if point < 0x80 { return (point < 0x20 || point == 0x7f) && !Characters.isSpace(point) }
            if hiding.contains(point) { return true }
            switch Characters.category(point) {
            case .format, .control, .privateUse, .surrogate: return !Characters.isSpace(point)
            default: return false
            }
        }
        guard form.text.contains(where: isGone) else { return nil }
        let kept = form.text.indices.filter { !isGone(form.text[$0]) }
        return Form(text: kept.map { form.text[$0] }, starts: kept.map { form.starts[$0] }, how: form.how)
    }

    /// Map look-alikes in words that mix scripts, and words of look-alikes alone unless their neighbours are foreign.
    private func latin(_ form: Form) -> Form {
        let text = form.text.translated(phonetic)
        var words = text.split(separator: Self.space, omittingEmptySubsequences: false).map(Text.init)
        let says = words.map { $0.translated(lookalikes) }
        let differs = words.indices.map { words[$0] != says[$0] }
        for at in words.indices where differs[at] {
            let near = max(at - around, 0)..<min(at + around + 1, words.count)
            // A letter alone is a word in few places, and a symbol in many.
            let isWord = words[at].count > 1 || differs[near].filter { $0 }.count > 1
            let isLatin = words[at].contains { $0 < 0x80 && Characters.isLetter($0) }
            if isLatin || (isWord && !says[near].contains { $0.contains(where: Self.otherScripts.contains) }) {
                words[at] = says[at]
            }
        }
        return form.saying(joined(words, by: [Self.space]))
    }

    /// Put letters together that stand apart; each run of them is read once.
    private static func together(_ form: Form, _ apart: Pattern, _ said: (Text) -> Text) -> Form {
        var edits: [Edit] = []
        var at = 0
        while let run = apart.first(form.text, from: at) {
            // What is behind the run tells whether its last letter ends it.
            let read = form.text.slice(run.start, min(run.end + 1, form.text.count))
            let ends = lastLetter.matches(read).map { run.start + $0.end }.filter { $0 <= run.end }
            let letters = form.text.slice(run.start, ends.last ?? run.start)
            // What cannot end a run that begins at its first letter cannot end one that begins at a later.
            at = run.end - 1
            if apart.match(letters) != nil {
                edits.append(Edit(run.start, run.start + letters.count, said(letters), how: ""))
                at = run.start + letters.count
            }
        }
        return form.edited(edits)
    }

    /// Join letters; digits alone are a table or a version.
    private static func joinedLetters(_ letters: Text) -> Text {
        letters.contains(where: Characters.isWordLetter) ? letters.filter(isSign) : letters
    }

    private static func isSign(_ point: UInt32) -> Bool { ![0x20, 0x2e, 0x2d, 0x5f, 0x2a].contains(point) }

    /// Join the letters of words that have other spaces between them than their letters have.
    private static func parted(_ said: Text) -> Text {
        guard said.contains(where: Characters.isWordLetter) else { return said }
        let spaces = anySpaces.matches(said).map(\.said)
        // The commonest length, the shortest of equals.
        var lengths: [Int: Int] = [:]
        for space in spaces { lengths[space.count, default: 0] += 1 }
        let inside = lengths.max { ($0.value, -$0.key) < ($1.value, -$1.key) }?.key ?? 1
        let single = spaces.filter { $0 == [space] }.count
        if lengths.count == 1 && (single == 0 || 2 * single > spaces.count) { return said }
        let ends = spaces.map { lengths.count > 1 ? $0.count != inside : $0 == [space] }
        var text = Text()
        for (at, letter) in said.filter(isSign).enumerated() {
            if at > 0 && ends[at - 1] { text.append(space) }
            text.append(letter)
        }
        return text
    }
}
