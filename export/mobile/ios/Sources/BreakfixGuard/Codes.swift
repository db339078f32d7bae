/// The codes that a text may be written in: how to find the runs of each, and what a run says.
///
/// Knows nothing of where a run stands. A reading counts only if `reads`, the caller's test, finds it worth reading.
/// No expression goes over a place twice.

/// Tells whether a text is worth reading.
typealias Reads = (Text) throws -> Bool

/// How to find the runs of one code and what they say.
struct Code: Sendable {
    let how: String
    /// A run, or the first piece of a long one.
    private let run: Pattern
    /// The next piece.
    private let more: Pattern
    /// Returns what a run says, or nil if it says nothing.
    let read: @Sendable (Text, Reads) throws -> Text?

    init(_ how: String, _ run: String, behind before: String = "", read: @escaping @Sendable (Text, Reads) throws -> Text?) {
        self.how = how
        self.run = Pattern(before + run, ascii: true)
        more = Pattern(run, ascii: true)
        self.read = read
    }

    /// Return the runs in a text, long ones in pieces.
    func runs(_ text: Text, piece longest: Int) -> [Match] {
        var (found, end) = ([Match](), 0)
        for match in run.matches(text) {
            var piece: Match? = match
            while let each = piece, each.start >= end {
                found.append(each)
                end = each.end
                piece = end - each.start >= longest ? more.match(text, at: end) : nil
            }
        }
        return found
    }
}

/// The codes that must be read before anything is made plain.
func hiddenCodes(_ tables: Part) throws -> [Code] {
    let morse = try Morse(tables)
    let sign = #"[.\-_–—…−·•]{1,7}"#
    return [
        // The tags after a black flag name a country.
        Code("tags", "[\u{e0020}-\u{e007e}]++", behind: "(?<![\u{1f3f4}\u{e0020}-\u{e007e}])") { run, _ in
            let text = run.map { $0 - 0xe0000 }
            return text.count == 1 ? text : [0x20] + text
        },
        Code("selectors", "[\u{fe00}-\u{fe0f}\u{e0100}-\u{e01ef}]{4,512}+") { run, reads in
            try text(of: run.map { UInt8($0 - ($0 < 0xff00 ? 0xfe00 : 0xe0100 - 16)) }, reads)
        },
        Code("morse", sign + #"(?:[ /|\n]{1,7}"# + sign + "){3,512}+", behind: #"(?<![^\s"'(:])"#, read: morse.read),
    ]
}

/// The codes that are read in plain text, the strictest first.
func plainCodes(_ tables: Part) throws -> [Code] {
    let references = try References(tables["references"])
    let digit = #"\w+/\-"#
    return [
        Code("url", #"%[0-9A-Fa-f]{2}(?:[^\s%]{0,24}%[0-9A-Fa-f]{2}){0,512}+"#, read: url),
        Code("html", "(?:&(?:amp;)?#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?){1,512}+") { run, reads in
            try needless(references.unescape(references.unescape(run)), reads)
        },
        Code("escapes", #"(?:\\(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\})){1,512}+"#, read: escapes),
        Code("escapes", #"(?:\\[xX][0-9A-Fa-f]{2}){2,512}+"#, read: escapes),
        Code("escapes", #"(?:U\+[0-9A-F]{4,6} ?){1,512}+"#, read: escapes),
        Code("octal", #"(?:\\[01][0-7]{2}){2,512}+"#) { run, reads in
            try text(of: Bytes.fromDigits(run.filter { $0 != 0x5c }, each: 3, radix: 8), reads)
        },
        Code("binary", "(?:[01]{8}[ ,]{0,2}){3,512}+", behind: "(?<![0-9])") { run, reads in
            try text(of: Bytes.fromDigits(run.filter { $0 == 0x30 || $0 == 0x31 }, each: 8, radix: 2), reads)
        },
        Code(
            "hex", #"(?:(?:0x|\\x|=|%)?[0-9A-Fa-f]{2}[ ,:;\-]{0,2}){4,512}+"#, behind: "(?<![0-9A-Za-z])", read: hex),
        Code("decimal", "[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){4,512}+", behind: "(?<![0-9.])") { run, reads in
            let codes = run.split { !Characters.isDigit($0) }.map { $0.reduce(0) { $0 * 10 + $1 - 0x30 } }
            return codes.allSatisfy { $0 < 256 } ? try text(of: codes.map(UInt8.init), reads) : nil
        },
        Code(
            "base32", "(?:[A-Z2-7]{16,512}+|[a-z2-7]{16,512}+|[A-Za-z2-7]{7,14}(?==))={0,6}", behind: "(?<![A-Za-z0-9])",
            read: base32),
        // The last piece takes what would be too short alone.
        Code(
            "base64", "(?:[\(digit)]{512}(?=[\(digit)]{8})|[\(digit)]{8,519}+|[\(digit)]{6,7}(?==))={0,2}",
            behind: "(?<![\(digit)])", read: base64),
    ]
}

private let short = 64

/// Return the text in bytes: all of it, or the printable part when that is most of it.
private func text(of bytes: [UInt8], _ reads: Reads) throws -> Text? {
    // A piece of a longer run may begin and end inside a character.
    let inside = bytes.count > short ? bytes.drop { $0 & 0xc0 == 0x80 } : bytes[...]
    let whole = Bytes.wholeCharacters(inside)
    if whole > 0, whole == inside.count || whole > max(short, inside.count - 4) {
        let text = Bytes.text(inside.prefix(whole))
        if try reads(text) { return text }
    }
    let (longest, strange) = printable(bytes)
    if Double(strange) > 0.4 * Double(bytes.count) { return nil }
    guard bytes.count > longest.count, Double(longest.count) > 0.6 * Double(bytes.count) else { return nil }
    return try reads(longest) ? longest : nil
}

/// Return the longest printable stretch of twelve or more bytes, and how many bytes are not printable.
private func printable(_ bytes: [UInt8]) -> (Text, Int) {
    var (longest, strange, start) = (0..<0, 0, 0)
    for at in 0...bytes.count {
        if at < bytes.count, bytes[at] == 9 || bytes[at] == 10 || bytes[at] == 13 || (0x20..<0x7f).contains(bytes[at]) { continue }
        if at - start > max(longest.count, 11) { longest = start..<at }
        start = at + 1
        strange += at < bytes.count ? 1 : 0
    }
    return (bytes[longest].map(UInt32.init), strange)
}

@Sendable private func base64(_ run: Text, _ reads: Reads) throws -> Text? {
    let isLower = run.contains { (0x61...0x7a).contains($0) } && !run.contains { (0x41...0x5a).contains($0) }
    if isLower { return nil }  // no text comes out of small letters alone
    let digits: Text = withoutEnd(run).map { $0 == 0x2d ? 0x2b : $0 == 0x5f ? 0x2f : $0 }
    // What stands right before the run may look like a part of it.
    for shift in 0..<(digits.count > 23 ? 4 : 1) {
        let length = digits.count - shift
        let part = digits[shift..<digits.count - (length % 4 == 1 ? 1 : 0)]
        if let text = try text(of: Bytes.fromBase64(part), reads) { return text }
    }
    return nil
}

@Sendable private func base32(_ run: Text, _ reads: Reads) throws -> Text? {
    let digits: Text = withoutEnd(run).map { (0x61...0x7a).contains($0) ? $0 - 0x20 : $0 }
    let isOdd = [1, 3, 6].contains(digits.count % 8)
    return try text(of: Bytes.fromBase32(digits.dropLast(isOdd ? 1 : 0)), reads)
}

private func withoutEnd(_ run: Text) -> ArraySlice<UInt32> {
    var end = run.count
    while end > 0, run[end - 1] == 0x3d { end -= 1 }
    return run[..<end]
}

@Sendable private func hex(_ run: Text, _ reads: Reads) throws -> Text? {
    var (digits, at) = (Text(), 0)
    while at < run.count {
        if run[at] == 0x30, at + 1 < run.count, run[at + 1] | 0x20 == 0x78 {
            at += 1
        } else if Bytes.isHex(UInt8(run[at])) {
            digits.append(run[at])
        }
        at += 1
    }
    return try text(of: Bytes.fromDigits(digits, each: 2, radix: 16), reads)
}

@Sendable private func escapes(_ run: Text, _ reads: Reads) throws -> Text? {
    let codes = run.split { !Bytes.isHex(UInt8($0)) }.map { digits in
        digits.reduce(UInt32(0)) { $0 << 4 | UInt32(Bytes.digit(UInt8($1))) }
    }
    return try needless(codes.allSatisfy { $0 < 0x110000 } ? Bytes.fromCodes(codes) : [], reads)
}

/// Return what escapes stand for if there are letters among it that need none, or if it is worth reading.
private func needless(_ text: Text, _ reads: Reads) throws -> Text? {
    try text.contains { $0 < 0x80 && Characters.isLetter($0) } || reads(text) ? text : nil
}

private let writtenLetter = Pattern("%(?:25)*(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])")

@Sendable private func url(_ run: Text, _ reads: Reads) throws -> Text? {
    let text = References.unquote(References.unquote(References.unquote(run)))
    // An address with a space or two in it is only an address.
    let isAddress = run.filter { $0 == 0x25 }.count <= 3
    return try writtenLetter.isFound(in: run.lowered) || (!isAddress && reads(text)) ? text : nil
}

/// Morse code, its signs written in several ways.
private struct Morse: Sendable {
    private static let gap = Pattern(#" *[/|\n] *| {2,}"#)
    let signs: [UInt32: Text]
    let letters: [Text: Text]

    init(_ tables: Part) throws {
        signs = try tables["morse_signs"].textsByCharacter()
        letters = try tables["morse"].object().mapValues { try $0.text() }
    }

    @Sendable func read(_ run: Text, _ reads: Reads) throws -> Text? {
        let written = run.flatMap { signs[$0] ?? [$0] }
        var (words, at) = ([Text](), 0)
        for gap in Self.gap.matches(written) {
            words.append(written.slice(at, gap.start))
            at = gap.end
        }
        words.append(written.slice(at, written.count))
        var said: [Text] = []
        for word in words {
            let read = word.words.map { letters[$0] }
            guard !read.contains(nil) else { return nil }
            said.append(read.compactMap { $0 }.flatMap { $0 })
        }
        let text = joined(said, by: [0x20])
        return try reads(text) ? text : nil
    }
}
