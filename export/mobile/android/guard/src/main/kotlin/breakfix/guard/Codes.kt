package breakfix.guard

import java.util.regex.Pattern

/**
 * The codes that a text may be written in: how to find the runs of each, and what a run says.
 *
 * Knows nothing of where a run stands. A reading counts only if `reads`, the caller's test, finds it worth reading.
 * No expression goes over a place twice.
 */

internal typealias Reads = (String) -> Boolean

private const val SHORT = 64
private const val LEAST_PRINTABLE = 12

/** How to find the runs of one code and what they say. */
internal class Reader(val how: String, run: String, before: String = "", val read: (String, Reads) -> String?) {
    private val first = Pattern.compile(before + run)
    private val more = Pattern.compile(run)

    /** Yield the runs of this code in a text, long ones in pieces. */
    fun runs(text: Text, longest: Int): Sequence<Match> = sequence {
        var end = 0
        for (found in text.matches(first)) {
            var piece: Match? = found
            while (piece != null && piece.start >= end) {
                yield(piece)
                end = piece.end
                piece = if (end - piece.start >= longest) text.matchAt(more, end) else null
            }
        }
    }
}

/** Return the codes that must be read before anything is made plain. */
internal fun hiddenCodes(tables: Fields): List<Reader> {
    val sign = "[.\\-_–—…−·•]{1,7}"
    // As expressions see what lies beyond U+FFFF.
    val tag = "\\ue020-\\ue07e"
    return listOf(
        // The tags after a black flag name a country.
        Reader("tags", "[$tag]++", "(?<![$SEEN_BLACK_FLAG$tag])") { run, _ -> tags(run) },
        Reader("selectors", "[\\ufe00-\\ufe0f\\ue100-\\ue1ef]{4,512}+", read = ::selectors),
        Reader("morse", "$sign(?:[ /|\\n]{1,7}$sign){3,512}+", "(?<![^ \\t-\\r\"'(:])", morse(tables)),
    )
}

/** Return the codes that are read in plain text, the strictest first. */
internal fun plainCodes(tables: Fields): List<Reader> {
    val digit = "A-Za-z0-9_+/\\-"
    val known = References(tables.fields("references"))
    return listOf(
        Reader("url", "%[0-9A-Fa-f]{2}(?:[^ \\t-\\r%]{0,24}%[0-9A-Fa-f]{2}){0,512}+", read = ::url),
        Reader("html", "(?:&(?:amp;)?#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?){1,512}+") { run, reads ->
            needless(unescapeHtml(unescapeHtml(run, known), known), reads)
        },
        Reader("escapes", "(?:\\\\(?:u[0-9A-Fa-f]{4}|u\\{[0-9A-Fa-f]{1,6}\\})){1,512}+", read = ::escapes),
        Reader("escapes", "(?:\\\\[xX][0-9A-Fa-f]{2}){2,512}+", read = ::escapes),
        Reader("escapes", "(?:U\\+[0-9A-F]{4,6} ?){1,512}+", read = ::escapes),
        Reader("octal", "(?:\\\\[01][0-7]{2}){2,512}+", read = ::octal),
        Reader("binary", "(?:[01]{8}[ ,]{0,2}){3,512}+", "(?<![0-9])", ::binary),
        Reader("hex", "(?:(?:0x|\\\\x|=|%)?[0-9A-Fa-f]{2}[ ,:;\\-]{0,2}){4,512}+", "(?<![0-9A-Za-z])", ::hex),
        Reader("decimal", "[0-9]{2,3}(?:[ ,;]{1,2}[0-9]{2,3}){4,512}+", "(?<![0-9.])", ::decimal),
        Reader("base32", "(?:[A-Z2-7]{16,512}+|[a-z2-7]{16,512}+|[A-Za-z2-7]{7,14}(?==))={0,6}", "(?<![A-Za-z0-9])", ::base32),
        // The last piece takes what would be too short alone.
        Reader(
            "base64", "(?:[$digit]{512}(?=[$digit]{8})|[$digit]{8,519}+|[$digit]{6,7}(?==))={0,2}", "(?<![$digit])", ::base64,
        ),
    )
}

/** Return the text in bytes: all of it, or the printable part when that is most of it. */
private fun textOfBytes(bytes: IntArray, reads: Reads): String? {
    // A piece of a longer run may begin and end inside a character.
    var begin = 0
    if (bytes.size > SHORT) while (begin < bytes.size && bytes[begin] and 0xc0 == 0x80) begin += 1
    val inside = bytes.copyOfRange(begin, bytes.size)
    val whole = wholeUtf8(inside)
    val counts = whole == inside.size || whole > maxOf(SHORT, inside.size - 4)
    val text = if (counts) decodeUtf8(inside.copyOf(whole)) else ""
    if (text != "" && reads(text)) return text
    if (bytes.count { !isPrintableByte(it) } > 0.4 * bytes.size) return null
    val longest = longestPrintable(bytes)
    return longest.takeIf { bytes.size > it.length && it.length > 0.6 * bytes.size && reads(it) }
}

private fun isPrintableByte(byte: Int): Boolean = byte == 9 || byte == 10 || byte == 13 || byte in 0x20..0x7e

/** Return the longest printable stretch of twelve or more bytes. */
private fun longestPrintable(bytes: IntArray): String {
    var longest = IntArray(0)
    var start = 0
    for (at in 0..bytes.size) {
        if (at < bytes.size && isPrintableByte(bytes[at])) continue
        if (at - start > maxOf(longest.size, LEAST_PRINTABLE - 1)) longest = bytes.copyOfRange(start, at)
        start = at + 1
    }
    return decodeUtf8(longest)
}

private fun base64(run: String, reads: Reads): String? {
    // No text comes out of small letters alone.
    if (run.any { it in 'a'..'z' } && run.none { it in 'A'..'Z' }) return null
    val digits = run.trimEnd('=').replace('-', '+').replace('_', '/')
    // What stands right before the run may look like a part of it.
    for (shift in 0 until if (digits.length > 23) 4 else 1) {
        val odd = if ((digits.length - shift) % 4 == 1) 1 else 0
        val text = textOfBytes(fromAlphabet(digits.substring(shift, digits.length - odd), BASE64), reads)
        if (!text.isNullOrEmpty()) return text
    }
    return null
}

private fun base32(run: String, reads: Reads): String? {
    val digits = run.trimEnd('=').uppercase()
    val odd = if (digits.length % 8 in intArrayOf(1, 3, 6)) 1 else 0
    return textOfBytes(fromAlphabet(digits.dropLast(odd), BASE32), reads)
}

private fun hex(run: String, reads: Reads): String? =
    textOfBytes(fromDigits(run.lowercase().replace("0x", "").filter { it in '0'..'9' || it in 'a'..'f' }, 2, 16), reads)

private fun binary(run: String, reads: Reads): String? = textOfBytes(fromDigits(run.filter { it in "01" }, 8, 2), reads)

private fun decimal(run: String, reads: Reads): String? {
    val codes = run.split(' ', ',', ';').filter { it != "" }.map(String::toInt)
    return if (codes.all { it < 256 }) textOfBytes(codes.toIntArray(), reads) else null
}

private fun octal(run: String, reads: Reads): String? =
    textOfBytes(run.drop(1).split('\\').map { it.toInt(8) }.toIntArray(), reads)

private val HEX_DIGITS = Pattern.compile("[0-9a-f]+")

private fun escapes(run: String, reads: Reads): String? {
    val codes = Text(run.lowercase()).matches(HEX_DIGITS).map { it.value.toInt(16) }.toList()
    return needless(if (codes.all { it < 0x110000 }) fromCodes(codes) else "", reads)
}

/** Return what escapes stand for if there are letters among it that need none, or if it is worth reading. */
private fun needless(text: String, reads: Reads): String? =
    text.takeIf { said -> said.any { it in 'a'..'z' || it in 'A'..'Z' } || reads(said) }

private val LETTER_ESCAPE = Pattern.compile("%(?:25)*(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])")

private fun url(run: String, reads: Reads): String? {
    val text = unquote(unquote(unquote(run)))
    // An address with a space or two in it is only an address.
    val counts = LETTER_ESCAPE.matcher(run.lowercase()).find() || (run.count { it == '%' } > 3 && reads(text))
    return text.takeIf { counts }
}

private fun tags(run: String): String {
    val text = pointsOf(run).joinToString("") { textOf(it - 0xe0000) }
    return if (text.length == 1) text else " $text"
}

private fun selectors(run: String, reads: Reads): String? {
    val points = pointsOf(run)
    return textOfBytes(IntArray(points.size) { points[it] - (if (points[it] < 0xff00) 0xfe00 else 0xe0100 - 16) }, reads)
}

private fun morse(tables: Fields): (String, Reads) -> String? {
    val signs = characters(tables.strings("morse_signs"))
    val letters = tables.strings("morse")
    val between = Regex(" *[/|\\n] *| {2,}")
    return { run, reads ->
        val words = translate(run, signs).split(between).map(::split)
        val known = words.all { word -> word.all(letters::containsKey) }
        words.joinToString(" ") { word -> word.joinToString("") { letters[it].orEmpty() } }.takeIf { known && reads(it) }
    }
}
