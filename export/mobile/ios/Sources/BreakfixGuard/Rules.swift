/// Personal data and credentials by their form. A finding has a form that hardly anything else has: what could as well be a
/// date, a version or an order number is none.
///
/// Knows nothing of categories or policies. Every function is linear in the length of its input.

/// A place in a text that holds personal data or a credential.
public struct Finding: Equatable, Sendable {
    /// email, phone, card, iban, ip or key.
    public let kind: String
    public let start: Int
    public let end: Int
}

/// Replace each finding by its kind in brackets: [email].
public func redact(_ text: Text, _ findings: [Finding]) -> Text {
    var (said, at) = (Text(), 0)
    for finding in findings.sorted(by: { $0.start < $1.start }) where finding.start >= at {
        said += text.slice(at, finding.start) + Text("[\(finding.kind)]")
        at = finding.end
    }
    return said + text.slice(at, text.count)
}

struct Rules: Sendable {
    private typealias Span = (start: Int, end: Int)

    private struct Issuer: Sendable {
        let low, high: Text
        let lengths: [Int]
    }

    private let ibanLengths: [Text: Int]
    private let issuers: [Issuer]
    private let files: Set<Text>

    init(_ tables: Part) throws {
        ibanLengths = try tables["iban_lengths"].object().mapValues { try $0.int() }
        files = Set(try tables["files"].texts())
        issuers = try tables["issuers"].list().map { row in
            let parts = try row.list()
            guard parts.count == 3 else { throw GuardError("the guard's \(row.name) is no table of issuers") }
            return Issuer(low: try parts[0].text(), high: try parts[1].text(), lengths: try parts[2].list().map { try $0.int() })
        }
    }

    /// Return the personal data and credentials in a text, in order and without overlaps.
    func find(_ text: Text) -> [Finding] {
        var taken = Array(repeating: false, count: text.count)
        var found: [Finding] = []
        func take(_ kind: String, _ pattern: Pattern, _ valid: (Match) -> Span?) {
            for match in pattern.matches(text) {
                guard let span = valid(match), !taken[span.start..<span.end].contains(true) else { continue }
                for at in span.start..<span.end { taken[at] = true }
                found.append(Finding(kind: kind, start: span.start, end: span.end))
            }
        }
        take("key", Forms.key) { ($0.start, $0.end) }
        take("email", Forms.email) { files.contains($0.group(1).lowered) ? nil : ($0.start, $0.end) }
        take("iban", Forms.iban) { iban($0, text) }
        take("card", Forms.card) { card($0) }
        take("ip", Forms.ipv6) { Self.ipv6($0) }
        take("ip", Forms.ipv4) { Self.ipv4($0, text) }
        take("phone", Forms.phone) { Self.phone($0, text, isSaid: false) }
        take("phone", Forms.saidPhone) { Self.phone($0, text, isSaid: true) }
        return found.enumerated().sorted { ($0.element.start, $0.offset) < ($1.element.start, $1.offset) }.map(\.element)
    }

    private func iban(_ found: Match, _ text: Text) -> Span? {
        guard let length = ibanLengths[found.group(1).map { $0 & ~0x20 }] else { return nil }
        var (account, at) = (Text(), found.end)
        for _ in 0..<length - 4 {
            if at < text.count, text[at] == 0x20 || text[at] == 0x2d { at += 1 }
            guard at < text.count, Self.isAlphanumeric(text[at]) else { return nil }
            account.append(text[at])
            at += 1
        }
        if at < text.count, Self.isAlphanumeric(text[at]) { return nil }
        let rest = (account + found.said).reduce(0) { rest, sign in
            sign < 0x40 ? (rest * 10 + Int(sign - 0x30)) % 97 : (rest * 100 + Int(sign | 0x20) - 0x61 + 10) % 97
        }
        return rest == 1 ? (found.start, at) : nil
    }

    private static func isAlphanumeric(_ point: UInt32) -> Bool {
        point < 0x80 && (Characters.isLetter(point) || Characters.isDigit(point))
    }

    private func card(_ found: Match) -> Span? {
        guard let span = found.span(1) else { return nil }
        let digits = found.group(1).filter(Characters.isDigit)
        let isIssued = issuers.contains { issuer in
            let head = digits.prefix(issuer.low.count)
            return !head.lexicographicallyPrecedes(issuer.low) && !issuer.high.lexicographicallyPrecedes(head)
                && issuer.lengths.contains(digits.count)
        }
        guard isIssued, Set(digits).count > 1 else { return nil }
        let sum = digits.reversed().enumerated().reduce(0) { sum, digit in
            let value = Int(digit.element - 0x30)
            return sum + (digit.offset.isMultiple(of: 2) ? value : 2 * value / 10 + 2 * value % 10)
        }
        return sum.isMultiple(of: 10) ? span : nil
    }

    private static func ipv4(_ found: Match, _ text: Text) -> Span? {
        Forms.noAddress.isFound(in: text.slice(max(found.start - 12, 0), found.start)) ? nil : (found.start, found.end)
    }

    private static func ipv6(_ found: Match) -> Span? {
        var address = found.said
        while address.last == 0x2e { address.removeLast() }
        // A slice such as 1::2 is an address by its form.
        guard address == Text("::1") || (address.count >= 6 && address.contains(where: Characters.isDigit)) else { return nil }
        return Address.isIPv6(address) ? (found.start, found.start + address.count) : nil
    }

    /// - Parameter isSaid: Whether a word before the number says that it is one.
    private static func phone(_ found: Match, _ text: Text, isSaid: Bool) -> Span? {
        guard let span = found.span(1) else { return nil }
        let number = found.group(1)
        if number[0] != 0x2b && !number.starts(with: Text("00")) {
            let digits = number.filter(Characters.isDigit).count
            let groups = number.split { !Characters.isDigit($0) }.map(\.count)
            // Ten or eleven digits in one piece; not four and four and four, which is how orders are numbered.
            let isPlausible = groups.count == 1 ? (10...11).contains(digits) : (9...12).contains(digits) && Set(groups) != [4]
            guard isPlausible || (isSaid && digits < 12), Forms.date.match(number) == nil else { return nil }
            if Forms.otherNumber.isFound(in: text.slice(max(span.start - 24, 0), span.start)) { return nil }
        }
        return (span.start + (number[0] == 0x28 && !number.contains(0x29) ? 1 : 0), span.end)
    }
}

/// What each kind looks like.
private enum Forms {
    private static let keys = [
        "(?:AKIA|ASIA)[A-Z0-9]{16}",
        "gh[pousr]_[A-Za-z0-9]{36,255}",
        #"github_pat_\w{22,255}"#,
        #"sk-(?=[\w-]{0,40}[A-Za-z0-9]{16})(?=[\w-]{0,60}[0-9])[\w-]{20,200}"#,
        "[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}",
        "xox[abeoprs]-(?=[A-Za-z-]{0,8}[0-9])[A-Za-z0-9-]{10,200}",
        #"AIza[\w-]{35}"#,
        #"eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]{8,}+"#,
    ]
    static let key = Pattern(
        #"(?<![\w-])(?:"# + keys.joined(separator: "|") + #")(?![\w-])|-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----"#
            + "(?:(?:[^-]|-(?!----)){0,16384}-----END [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----"
            + #"|(?:\s?[A-Za-z0-9+/=]{32,}+)*)"#,
        ascii: true)
    static let email = Pattern(
        #"(?<![\w.%+-])\w[\w.%+-]{0,63}+@(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24})(?![\w@-]|:[\w/~])"#)
    static let iban = Pattern("(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ -]?[A-Za-z0-9])")
    // Looks ahead, so that a number in front of the first four digits hides nothing.
    static let card = Pattern(
        #"(?<![\w.])(?=((?:[0-9]{4}([ -])[0-9]{4}\2[0-9]{4}\2[0-9]{4}(?:\2[0-9]{3})?|3[0-9]{3}([ -])[0-9]{6}\3[0-9]{4,5}"#
            + #"|[0-9]{13,19}))(?!\w|[.-][0-9]))"#)
    private static let octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    static let ipv4 = Pattern(
        #"(?<![\w.-])(?<![A-Za-z]/)(?<![=<>~^!]=)"# + octet + #"(?:\."# + octet + #"){3}(?![\w-]|\.[\w-])"#)
    static let ipv6 = Pattern(
        #"(?<![\w:.])(?<!\w\[)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9.]{7,15}|[0-9A-Fa-f]{1,4})?(?![\w:])"#)
    static let noAddress = Pattern(
        #"\b(?:v|ver|version|release|build|firmware|update|section|chapter|clause|§|rule|article|item)\W{0,3}$"#,
        ignoringCase: true)
    private static let afterPhone = #"(?![\w%€£$]|[.,:/\-][0-9])"#
    static let phone = Pattern(
        #"(?<![\w.,:/+$€£#\-])("#
            + #"\+[1-9](?:[ ./()\-]{0,2}[0-9]){8,14}"#  // international
            + "|(?<![0-9] )(?:"  // not the end of a longer number in groups
            + #"00[1-9](?:[ ./\-]?[0-9]){8,13}"#
            + #"|(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}(?=([-.])...\2))[-.]?[2-9][0-9]{2}[-. ][0-9]{4}"#  // North America
            + #"|\(?0[1-9][0-9]{0,4}\)?[ /\-]?[0-9]{2,8}(?:[ \-][0-9]{2,8}){0,4}|0[1-9](?:\.[0-9]{2}){4}"#  // trunk zero
            + #"|1[3-9][0-9]([ \-])[0-9]{4}\3[0-9]{4}"#  // China
            + "))" + afterPhone)
    static let saidPhone = Pattern(
        #"\b(?:(?:tele)?(?:phone|fon)|tel|t[ée]l|fax|mobile|cell|handy|whatsapp|call|dial|sms|text)\b[^0-9\n+]{0,20}"#
            + #"(?<![\w.,$€£#])(\(?[0-9](?:[ ().\-]{0,2}[0-9]){6,13})"# + afterPhone,
        ignoringCase: true)
    static let otherNumber = Pattern(
        #"\b(?:order|invoice|ticket|tracking|isbn|issn|sku|serial|case|part|item|ref|reference|id|doi)\b[^\d\n]{0,12}$"#,
        ignoringCase: true)
    static let date = Pattern(
        #"(?:19|20)[0-9]{2}[-. ]|[0-3]?[0-9]([-. /])[0-3]?[0-9]\1(?:19|20)[0-9]{2}(?![0-9])|(?:19|20)[0-9]{2}\b"#)
}
