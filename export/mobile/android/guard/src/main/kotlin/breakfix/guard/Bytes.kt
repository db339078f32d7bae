package breakfix.guard

import java.util.regex.Pattern

/**
 * Bytes and the text in them: UTF-8 read as Python reads it, base64, base32, percent signs and character references.
 *
 * A byte is a number from 0 to 255. Knows nothing of language: whether what comes out is worth reading is the caller's to say.
 */

internal const val BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
internal const val BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
private const val BROKEN = 0xfffd
private const val LAST_POINT = 0x10ffff
private const val MOST_DIGITS = 10
private val REFERENCE = Pattern.compile("&(?:#([0-9]+);?|#[xX]([0-9a-fA-F]+);?|([^\\t\\n\\f <&#;]{1,32};?))")

/** What HTML's character references stand for. */
internal class References(tables: Fields) {
    val named: Map<String, String> = tables.strings("named")
    val numbered: Map<String, String> = tables.strings("numbered")
}

/** Read UTF-8; each maximal part of what is none becomes U+FFFD. */
internal fun decodeUtf8(bytes: IntArray): String {
    val said = StringBuilder(bytes.size)
    var at = 0
    while (at < bytes.size) {
        val whole = characterAt(bytes, at)
        if (whole > 0) said.appendCodePoint(pointAt(bytes, at, whole)) else said.append(BROKEN.toChar())
        at += if (whole > 0) whole else maxOf(-whole, 1)
    }
    return said.toString()
}

/** Return how many bytes from the start are whole characters. */
internal fun wholeUtf8(bytes: IntArray): Int {
    var at = 0
    while (at < bytes.size) {
        val length = characterAt(bytes, at)
        if (length <= 0) return at
        at += length
    }
    return at
}

/** Return the length of the character that begins here, or how many bytes could begin one, below zero. */
private fun characterAt(bytes: IntArray, at: Int): Int {
    val lead = bytes[at]
    if (lead < 0x80) return 1
    val length = if (lead < 0xc2) 0 else if (lead < 0xe0) 2 else if (lead < 0xf0) 3 else if (lead < 0xf5) 4 else 0
    for (next in 1 until length) {
        // Neither longer than need be, nor a surrogate, nor beyond the last code point.
        val least = if (next > 1) 0x80 else if (lead == 0xe0) 0xa0 else if (lead == 0xf0) 0x90 else 0x80
        val most = if (next > 1) 0xbf else if (lead == 0xed) 0x9f else if (lead == 0xf4) 0x8f else 0xbf
        if (at + next >= bytes.size || bytes[at + next] !in least..most) return -next
    }
    return length
}

private fun pointAt(bytes: IntArray, at: Int, length: Int): Int {
    if (length == 1) return bytes[at]
    val first = bytes[at] and (0x7f ushr length)
    return (at + 1 until at + length).fold(first) { point, next -> point shl 6 or (bytes[next] and 0x3f) }
}

/** Read base64 or base32, by its digits, without padding; bits left over at the end are dropped. */
internal fun fromAlphabet(run: String, alphabet: String): IntArray {
    val each = if (alphabet.length == BASE64.length) 6 else 5
    val bytes = IntArray(run.length * each / 8)
    var bits = 0
    var count = 0
    var at = 0
    for (char in run) {
        bits = (bits shl each or alphabet.indexOf(char)) and 0xfff
        count += each
        if (count >= 8) {
            count -= 8
            bytes[at++] = bits ushr count and 0xff
        }
    }
    return bytes
}

/** Read numbers of a fixed count of digits each. */
internal fun fromDigits(digits: String, each: Int, base: Int): IntArray {
    require(digits.length % each == 0) { "a run of digits ends inside a byte" }
    return IntArray(digits.length / each) { digits.substring(it * each, (it + 1) * each).toInt(base) }
}

/** Undo percent signs; bytes that are no UTF-8 become U+FFFD. */
internal fun unquote(text: String): String {
    val whole = StringBuilder()
    var at = 0
    while (at < text.length) {
        val start = at
        val ascii = text[at] <= '\u007f'
        while (at < text.length && (text[at] <= '\u007f') == ascii) at += 1
        val run = text.substring(start, at)
        whole.append(if (ascii && '%' in run) unquotedAscii(run) else run)
    }
    return whole.toString()
}

private fun unquotedAscii(run: String): String {
    val bytes = IntArray(run.length)
    var count = 0
    var at = 0
    while (at < run.length) {
        val hex = if (run[at] == '%' && at + 2 < run.length) run.substring(at + 1, at + 3).takeIf(::isHex) else null
        bytes[count++] = hex?.toInt(16) ?: run[at].code
        at += if (hex == null) 1 else 3
    }
    return decodeUtf8(bytes.copyOf(count))
}

private fun isHex(digits: String): Boolean = digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }

/** Undo HTML's character references as HTML 5 does. */
internal fun unescapeHtml(text: String, references: References): String {
    val said = StringBuilder()
    val found = REFERENCE.matcher(text)
    var at = 0
    while (found.find()) {
        val decimal = found.group(1)
        val hex = found.group(2)
        said.append(text, at, found.start())
        said.append(
            when {
                decimal != null -> numbered(decimal, 10, references)
                hex != null -> numbered(hex, 16, references)
                else -> named(found.group(3).orEmpty(), references)
            },
        )
        at = found.end()
    }
    return said.append(text, at, text.length).toString()
}

private fun numbered(digits: String, base: Int, references: References): String {
    val known = digits.trimStart('0').takeIf { it.length < MOST_DIGITS }?.ifEmpty { "0" }?.toLong(base)
    val number = minOf(known ?: Long.MAX_VALUE, LAST_POINT + 1L).toInt()
    references.numbered[number.toString()]?.let { return it }
    return textOf(if (isSurrogate(number) || number > LAST_POINT) BROKEN else number)
}

private fun named(reference: String, references: References): String {
    for (end in reference.length downTo 2) {
        references.named[reference.take(end)]?.let { return it + reference.drop(end) }
    }
    return "&$reference"
}

/** Put code points together, halves of surrogate pairs too; a half alone becomes U+FFFD. */
internal fun fromCodes(codes: List<Int>): String {
    val joined = StringBuilder()
    codes.forEach { joined.appendCodePoint(it) }
    return withoutSurrogates(joined.toString(), BROKEN)
}

/** Replace lone surrogates, which no tokenizer can read. */
internal fun withoutSurrogates(text: String, by: Int = '?'.code): String {
    if (text.none(Char::isSurrogate)) return text
    val points = pointsOf(text)
    return String(IntArray(points.size) { if (isSurrogate(points[it])) by else points[it] }, 0, points.size)
}
