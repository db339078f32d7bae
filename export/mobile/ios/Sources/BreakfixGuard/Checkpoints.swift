/// Where the output rail looks at an answer, and how much of it: at sentence ends, and at gaps or words where none comes.
///
/// It depends on the text alone, never on how the text arrives. All lengths are in UTF-8 bytes, all places in code points.
/// Knows no guard.

struct Checkpoints: Sendable {
    private static let begin = Text("-----BEGIN")
    private static let end = Text("-----END")
    private static let soon = 32

    let least, most, longest, reachOf, lookback, run, key, group: Int
    private let stops, wideStops, wideGaps, closers: Set<UInt32>

    init(_ tables: Part) throws {
        (least, most, longest) = (try tables["least"].int(), try tables["most"].int(), try tables["longest"].int())
        (reachOf, lookback) = (try tables["reach"].int(), try tables["lookback"].int())
        (run, key, group) = (try tables["run"].int(), try tables["key"].int(), try tables["group"].int())
        (stops, wideStops) = (Set(try tables["stops"].text()), Set(try tables["wide_stops"].text()))
        (wideGaps, closers) = (Set(try tables["wide_gaps"].text()), Set(try tables["closers"].text()))
    }

    /// Return where the excerpt that ends at a place begins: within reach, and at a word if one begins soon.
    func excerptStart(_ text: Text, _ place: Int) -> Int {
        let start = reach(text, place)
        if start == 0 { return 0 }
        return (start..<max(start, min(start + Self.soon, place))).first { Characters.isSpace(text[$0 - 1]) } ?? start
    }

    /// Return the earliest character that an excerpt which ends at a place may begin with.
    func reach(_ text: Text, _ place: Int) -> Int {
        var (start, left) = (place, reachOf)
        while start > 0 && left > 0 {
            start -= 1
            left -= Characters.size(text[start])
        }
        return start
    }

    /// Tell whether a sentence ends right before the character at `at`.
    func endsSentence(_ text: Text, _ at: Int) -> Bool {
        var end = at
        while at - end < lookback / 2, end > 1, closers.contains(text[end - 1]) { end -= 1 }
        if text[at - 1] == 0x0a || (stops.contains(text[end - 1]) && Characters.isSpace(text[at])) { return true }
        return wideStops.contains(text[end - 1]) && !closers.contains(text[at])
    }

    func isPlace(_ text: Text, _ at: Int, weight: Int) -> Bool {
        if endsSentence(text, at) { return true }
        if weight >= most && (Characters.isSpace(text[at]) || wideGaps.contains(text[at - 1])) { return true }
        return weight >= longest && (weight >= 2 * longest || !Self.isOneCharacter(text[at - 1], text[at]))
    }

    /// Tell whether two may be one on the screen: marks, joiners, skin tones, flags, halves of a surrogate pair.
    private static func isOneCharacter(_ before: UInt32, _ after: UInt32) -> Bool {
        let flags: ClosedRange<UInt32> = 0x1f1e6...0x1f1ff
        if flags.contains(before) && flags.contains(after) || before == 0x200d { return true }
        if (0x1f3fb...0x1f3ff).contains(after) || Characters.isMark(after) { return true }
        return [.format, .surrogate].contains(Characters.category(after))
    }

    /// Return up to where no personal data can grow or begin with what comes next; `inside`: the text ends inside a word.
    ///
    /// Numbers are written in groups, some of them of letters; an address is one word; a key may have many lines.
    func settled(_ text: Text, _ found: [Finding], inside: Bool) -> Int {
        var (end, at) = (text.count, text.count)
        for word in Self.words(text, from: max(0, at - run)).reversed() {
            if !Self.isBlank(text[word.upperBound..<at]) { break }
            if text[word].contains(where: Characters.isDigit) || (inside && word.upperBound == text.count) {
                end = word.lowerBound
            } else if word.count > group {
                break
            }
            at = word.lowerBound
        }
        let settled = end
        for each in found where each.start < settled && Self.isBlank(text[min(each.end, settled)..<settled]) {
            end = min(end, each.start)
        }
        if let key = text.last(of: Self.begin), text.first(of: Self.end, from: key) == nil { end = min(end, key) }
        return text.count - end < key ? end : text.count
    }

    private static func isBlank(_ text: ArraySlice<UInt32>) -> Bool { text.allSatisfy(Characters.isSpace) }

    /// Runs of ASCII that can be seen.
    private static func words(_ text: Text, from start: Int) -> [Range<Int>] {
        text[start...].split { $0 < 0x21 || $0 > 0x7e }.map { $0.startIndex..<$0.endIndex }
    }
}

/// Finds the places to check at in a text that grows.
struct Scanner {
    let checkpoints: Checkpoints
    /// How far the text was scanned.
    var at = 0
    /// How many places were found.
    private(set) var found = 0
    private var weight = 0

    init(_ checkpoints: Checkpoints) {
        self.checkpoints = checkpoints
    }

    /// Return the next place, or nil where the text has none yet; `final`: no more text comes, and its end is the last place.
    /// Whether a place is one depends on the text up to the one character behind it. An empty text has one place.
    mutating func next(_ text: Text, final: Bool) -> Int? {
        while at + 1 < text.count {
            weight += Characters.size(text[at])
            at += 1
            if weight >= checkpoints.least && checkpoints.isPlace(text, at, weight: weight) { return place(at) }
        }
        return final && (at < text.count || weight > 0 || found == 0) ? place(text.count) : nil
    }

    private mutating func place(_ at: Int) -> Int {
        (self.at, weight, found) = (at, 0, found + 1)
        return at
    }
}
