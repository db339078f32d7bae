/// One reading of a text, with the place in the raw text that each of its characters was read from.
///
/// Knows how readings are edited and cut, not why.

/// One run of a text and what it says.
struct Edit {
    let start: Int
    var end: Int
    let text: Text
    /// How it was written: base64, hex, rot13 ...; empty where only the spelling changed.
    let how: String
    /// Whether the last character of the run is the first of what it says.
    var backwards = false

    init(_ start: Int, _ end: Int, _ text: Text, how: String, backwards: Bool = false) {
        (self.start, self.end, self.text, self.how, self.backwards) = (start, end, text, how, backwards)
    }
}

/// One reading of a text.
public struct Form: Sendable {
    /// What is read.
    public let text: Text
    /// Where each character of it comes from in the raw text; falling where the text runs backwards.
    public let starts: [Int]
    /// raw, plain, or what was undone to read it: base64, leetspeak, base64+rot13 ...
    public let how: String

    static func raw(_ text: Text) -> Form { Form(text: text, starts: Array(text.indices), how: "raw") }

    /// The form with another text of the same length.
    func saying(_ text: Text) -> Form { Form(text: text, starts: starts, how: how) }

    /// The span of the raw text that a span of this one was read from.
    func span(_ start: Int, _ end: Int) -> (start: Int, end: Int) {
        let places = starts[min(start, starts.count)..<max(min(end, starts.count), min(start, starts.count))]
        guard let least = places.min(), let most = places.max() else { return (0, 0) }
        return (least, most + 1)
    }

    /// Return the form with runs replaced, and with what was undone in its name; itself where there is nothing to do.
    func edited(_ edits: [Edit]) -> Form {
        if edits.isEmpty { return self }
        var (said, places) = (Text(), [Int]())
        var at = 0
        for edit in edits {
            // A stretch of ciphered words may have a word of leetspeak inside, which then is read beside it.
            said += text[at..<max(at, edit.start)]
            places += starts[at..<max(at, edit.start)]
            said += edit.text
            places += Self.spread(starts[edit.start..<edit.end], edit.text.count, backwards: edit.backwards)
            at = edit.end
        }
        said += text[at...]
        places += starts[at...]
        return Form(text: said, starts: places, how: named(edits))
    }

    private func named(_ edits: [Edit]) -> String {
        var names = how == "raw" || how == "plain" ? [] : how.split(separator: "+").map(String.init)
        for edit in edits where edit.how != "" && !names.contains(edit.how) { names.append(edit.how) }
        return names.isEmpty ? how : names.joined(separator: "+")
    }

    /// Return the places of `count` characters that were read from these: the first from the first, the last from the last.
    private static func spread(_ places: ArraySlice<Int>, _ count: Int, backwards: Bool) -> [Int] {
        let from = backwards ? Array(places.reversed()) : Array(places)
        if from.count == count { return from }
        return (0..<count).map { from[$0 * (from.count - 1) / max(count - 1, 1)] }
    }

    /// Return the blocks of this form that read otherwise than the raw text, and one on either side of each.
    func excerpt(of raw: Form, block size: Int) -> Form {
        let blocks = stride(from: 0, to: text.count, by: size).map { text.slice($0, $0 + size) }
        let differs = blocks.enumerated().map { number, says in
            let next = (number + 1) * size
            let written = raw.text.slice(starts[number * size], next < starts.count ? starts[next] : raw.text.count)
            return written != says && written.words != says.words
        }
        let keep = differs.indices.map { differs[max($0 - 1, 0)..<min($0 + 2, differs.count)].contains(true) }
        var (said, places) = (Text(), [Int]())
        for number in blocks.indices where keep[number] {
            let start = number * size
            if !said.isEmpty && !keep[number - 1] {
                said.append(0x0a)
                places.append(starts[start])
            }
            said += blocks[number]
            places += starts[start..<start + blocks[number].count]
        }
        return said.isEmpty ? raw : Form(text: said, starts: places, how: how)
    }
}
