package breakfix.guard

import java.util.regex.Pattern

/**
 * Personal data and credentials by their form. A finding has a form that hardly anything else has: what could as well be a
 * date, a version or an order number is none.
 *
 * Knows nothing of categories or policies. Every function is linear in the length of its input.
 */

private const val W = WORD_CLASS
private const val EDGE = "(?:(?<=[$W])(?![$W])|(?<![$W])(?=[$W]))"

/** Finds personal data by the tables of a bundle. */
internal class Rules(tables: Fields) {
    private val ibanLengths = tables.numbers("iban_lengths").mapValues { it.value.toInt() }
    private val files = tables.texts("files").toSet()
    private val issuers = tables.list("issuers").map { Issuer.of(it) ?: throw JsonError(NO_ISSUER) }

    /** Who issues cards: their first digits from, to, and how many digits there are. */
    private class Issuer(val low: String, val high: String, val lengths: Set<Long>) {
        companion object {
            fun of(row: Any?): Issuer? {
                val (low, high, lengths) = (row as? List<*>)?.takeIf { it.size == 3 } ?: return null
                return Issuer(low as? String ?: return null, high as? String ?: return null, counts(lengths) ?: return null)
            }

            private fun counts(row: Any?): Set<Long>? = (row as? List<*>)?.mapTo(HashSet()) { it as? Long ?: return null }
        }
    }

    private class Kind(val name: String, val pattern: Pattern, val valid: (Match, Text) -> Span?)

    private val kinds = listOf(
        Kind("email", EMAIL) { found, _ -> asItIs(found).takeIf { found.group(1).orEmpty().lowercase() !in files } },
        Kind("iban", IBAN, ::iban),
        Kind("card", CARD) { found, _ -> card(found) },
        Kind("ip", IPV6) { found, _ -> ipv6(found) },
        Kind("ip", IPV4) { found, text -> asItIs(found).takeUnless { follows(NO_ADDRESS, text, found.start, 12) } },
        Kind("phone", PHONE) { found, text -> phone(found, text, said = false) },
        Kind("phone", SAID_PHONE) { found, text -> phone(found, text, said = true) },
    )

    /** Return the personal data and credentials in a text, in order and without overlaps. */
    fun find(text: String): List<Finding> {
        val whole = Text(text)
        val taken = BooleanArray(whole.length)
        val found = ArrayList<Finding>()
        fun take(kind: String, span: Span) {
            if ((span.start until span.end).any { taken[it] }) return
            taken.fill(true, span.start, span.end)
            found.add(Finding(kind, span.start, span.end))
        }
        keys(whole).forEach { take("key", it) }
        for (kind in kinds) for (match in whole.matches(kind.pattern)) kind.valid(match, whole)?.let { take(kind.name, it) }
        return found.sortedBy { it.start }
    }

    private fun iban(found: Match, text: Text): Span? {
        val left = (ibanLengths[found.group(1).orEmpty().uppercase()] ?: 0) - 4
        if (left <= 0) return null
        val rest = text.matchAt(Pattern.compile("(?:[ \\-]?[A-Za-z0-9]){$left}(?![A-Za-z0-9])"), found.end) ?: return null
        val account = (rest.value + found.value).filterNot { it == ' ' || it == '-' }
        val remainder = account.fold(0) { sum, char ->
            val digits = char.digitToInt(36)
            (sum * (if (digits < 10) 10 else 100) + digits) % 97
        }
        return if (remainder == 1) Span(found.start, rest.end) else null
    }

    private fun card(found: Match): Span? {
        val written = found.group(1).orEmpty()
        val digits = written.filterNot { it == ' ' || it == '-' }
        val issued = issuers.any { digits.take(it.low.length) in it.low..it.high && digits.length.toLong() in it.lengths }
        if (!issued || digits.toSet().size == 1) return null
        val sum = digits.reversed().mapIndexed { at, digit -> if (at % 2 == 0) digit - '0' else doubled(digit - '0') }.sum()
        return if (sum % 10 == 0) Span(found.start, found.start + written.length) else null
    }
}

/** Return the sum of the digits of a digit's double. */
private fun doubled(digit: Int): Int = 2 * digit / 10 + 2 * digit % 10

private const val NO_ISSUER = "the table of who issues cards is damaged; make the bundle again"

private fun asItIs(found: Match): Span = Span(found.start, found.end)

/** Tell whether an expression that ends its text is found in what stands before a place. */
private fun follows(pattern: Pattern, text: Text, place: Int, reach: Int): Boolean =
    Text(text.slice(maxOf(place - reach, 0), place)).find(pattern, 0) != null

// --- keys

private const val KEY_START = "(?<![A-Za-z0-9_\\-])"
private const val MOST_KEY = 16384
private const val DASHES = "-----"
private val KEY = Pattern.compile(
    "$KEY_START(?:" +
        listOf(
            "(?:AKIA|ASIA)[A-Z0-9]{16}",
            "gh[pousr]_[A-Za-z0-9]{36,255}",
            "github_pat_[A-Za-z0-9_]{22,255}",
            "sk-(?=[A-Za-z0-9_\\-]{0,40}[A-Za-z0-9]{16})(?=[A-Za-z0-9_\\-]{0,60}[0-9])[A-Za-z0-9_\\-]{20,200}",
            "[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}",
            "xox[abeoprs]-(?=[A-Za-z\\-]{0,8}[0-9])[A-Za-z0-9\\-]{10,200}",
            "AIza[A-Za-z0-9_\\-]{35}",
            "eyJ[A-Za-z0-9_\\-]{8,}+\\.eyJ[A-Za-z0-9_\\-]{8,}+\\.[A-Za-z0-9_\\-]{8,}+",
        ).joinToString("|") +
        ")(?![A-Za-z0-9_\\-])|(-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----)",
)
private val KEY_END = Pattern.compile("-----END [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----")
private val KEY_LINE = Pattern.compile("[ \\t-\\r]?[A-Za-z0-9+/=]{32,}+")

/** Return the keys in a text. A Java machine's expression would go one deeper with each line of one, so it reads the first. */
private fun keys(text: Text): List<Span> {
    val found = ArrayList<Span>()
    var next = text.find(KEY, 0)
    while (next != null) {
        val end = if (next.group(1) == null) next.end else keyEnd(text, next.end)
        found.add(Span(next.start, end))
        next = text.find(KEY, end)
    }
    return found
}

/** Return where a key ends whose first line ends here: with its last line, or where its lines do. */
private fun keyEnd(text: Text, begin: Int): Int {
    val reach = text.slice(begin, begin + MOST_KEY + DASHES.length)
    val dashes = reach.indexOf(DASHES)
    if (dashes >= 0) text.matchAt(KEY_END, begin + lengthOf(reach.take(dashes)))?.let { return it.end }
    var end = begin
    while (true) end = text.matchAt(KEY_LINE, end)?.end ?: return end
}

// --- addresses

private val EMAIL = Pattern.compile(
    "(?<![$W.%+\\-])[$W][$W.%+\\-]{0,63}+@(?:[$W\\-]{1,63}\\.){1,8}([\\p{L}\\p{Nl}\\p{No}]{2,24})(?![$W@\\-]|:[$W/~])",
)
private const val OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
private val IPV4 = Pattern.compile(
    "(?<![$W.\\-])(?<![A-Za-z]/)(?<![=<>~\\^!]=)$OCTET(?:\\.$OCTET){3}(?![$W\\-]|\\.[$W\\-])",
)
private val IPV6 = Pattern.compile(
    "(?<![$W:.])(?<![$W]\\[)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9.]{7,15}|[0-9A-Fa-f]{1,4})?(?![$W:])",
)
private val NO_ADDRESS = Pattern.compile(
    "$EDGE(?:${anyCase("v|ver|version|release|build|firmware|update|section|chapter|clause|§|rule|article|item")})" +
        "[^$W]{0,3}\\z",
)

private fun ipv6(found: Match): Span? {
    val address = found.value.trimEnd('.')
    // A slice such as 1::2 is an address by its form.
    if (address != "::1" && (address.length < 6 || address.none { it in '0'..'9' })) return null
    return if (isIPv6(address)) Span(found.start, found.start + address.length) else null
}

// --- numbers

private val IBAN = Pattern.compile("(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}(?=[ \\-]?[A-Za-z0-9])")

// Looks ahead, so that a number in front of the first four digits hides nothing.
private val CARD = Pattern.compile(
    "(?<![$W.])(?=((?:[0-9]{4}([ \\-])[0-9]{4}\\2[0-9]{4}\\2[0-9]{4}(?:\\2[0-9]{3})?|3[0-9]{3}([ \\-])[0-9]{6}\\3[0-9]{4,5}" +
        "|[0-9]{13,19}))(?![$W]|[.\\-][0-9]))",
)
private const val AFTER_PHONE = "(?![$W%€£\$]|[.,:/\\-][0-9])"
private val PHONE = Pattern.compile(
    "(?<![$W.,:/+\$€£#\\-])(" +
        "\\+[1-9](?:[ ./()\\-]{0,2}[0-9]){8,14}" + // international
        "|(?<![0-9] )(?:" + // not the end of a longer number in groups
        "00[1-9](?:[ ./\\-]?[0-9]){8,13}" +
        "|(?:1[\\-. ])?(?:\\([2-9][0-9]{2}\\) ?|[2-9][0-9]{2}(?=([\\-.])[^\\n]{3}\\2))" + // North America
        "[\\-.]?[2-9][0-9]{2}[\\-. ][0-9]{4}" +
        "|\\(?0[1-9][0-9]{0,4}\\)?[ /\\-]?[0-9]{2,8}(?:[ \\-][0-9]{2,8}){0,4}|0[1-9](?:\\.[0-9]{2}){4}" + // trunk zero
        "|1[3-9][0-9]([ \\-])[0-9]{4}\\3[0-9]{4}" + // China
        "))$AFTER_PHONE",
)
private val SAID_PHONE = Pattern.compile(
    "$EDGE(?:${anyCase("(?:tele)?(?:phone|fon)|tel|t[eé]l|fax|mobile|cell|handy|whatsapp|call|dial|sms|text")})$EDGE" +
        "[^0-9\\n+]{0,20}(?<![$W.,\$€£#])(\\(?[0-9](?:[ ().\\-]{0,2}[0-9]){6,13})$AFTER_PHONE",
)
private val OTHER_NUMBER = Pattern.compile(
    "$EDGE(?:${anyCase("order|invoice|ticket|tracking|isbn|issn|sku|serial|case|part|item|ref|reference|id|doi")})" +
        "$EDGE[^\\p{Nd}\\n]{0,12}\\z",
)
private val DATE = Pattern.compile(
    "(?:19|20)[0-9]{2}[\\-. ]|[0-3]?[0-9]([\\-. /])[0-3]?[0-9]\\1(?:19|20)[0-9]{2}(?![0-9])|(?:19|20)[0-9]{2}(?![$W])",
)

/**
 * Return an expression that Python matches in any case: its i is also the dotless one and the dotted capital, its s the long
 * one, its k the Kelvin sign. What a machine's own flag takes for the same letter differs from one to the next.
 */
private fun anyCase(pattern: String): String {
    val other = mapOf('i' to "ıİ", 's' to "ſ", 'k' to "\u212a")
    var inside = false
    return pattern.toCharArray().joinToString("") { char ->
        if (char == '[' || char == ']') inside = char == '['
        val cases = "$char${char.uppercaseChar()}${other[char].orEmpty()}"
        if (!char.isLetter()) "$char" else if (inside) cases else "[$cases]"
    }
}

/** Return the span of a number if it is a phone's; [said] tells whether a word before it says so. */
private fun phone(found: Match, text: Text, said: Boolean): Span? {
    val written = found.group(1).orEmpty()
    val start = found.end - written.length
    val digits = written.count { it in '0'..'9' }
    if (!written.startsWith("+") && !written.startsWith("00")) {
        val groups = Text(written).runs { it in '0'.code..'9'.code }.map { it.end - it.start }
        // Ten or eleven digits in one piece; not four and four and four, which is how orders are numbered.
        val plausible = if (groups.size == 1) digits in 10..11 else digits in 9..12 && !groups.all { it == 4 }
        if (!plausible && !(said && digits < 12)) return null
        if (DATE.matcher(written).lookingAt() || follows(OTHER_NUMBER, text, start, 24)) return null
    }
    return Span(start + (if (written[0] == '(' && ')' !in written) 1 else 0), found.end)
}

/** Replace each finding by its kind in brackets: [email]. */
fun redact(text: String, findings: List<Finding>): String {
    val whole = Text(text)
    val pieces = StringBuilder()
    var at = 0
    for (finding in findings.sortedBy { it.start }) {
        if (finding.start < at) continue
        pieces.append(whole.slice(at, finding.start)).append("[${finding.kind}]")
        at = finding.end
    }
    return pieces.append(whole.slice(at)).toString()
}
