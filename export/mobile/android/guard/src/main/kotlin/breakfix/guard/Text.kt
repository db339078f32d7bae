package breakfix.guard

import java.util.regex.Matcher
import java.util.regex.Pattern

/**
 * Text addressed by code points, and expressions that mean the same on every machine.
 *
 * Whatever this guard counts, cuts or reports is in code points; UTF-16 units appear nowhere else. Expressions never see a
 * surrogate pair: a Java machine and Android's ICU look behind such a pair differently, so one character of the same kind
 * stands for it. Knows nothing of readings, categories or models.
 */

/** A match of an expression, its places in code points. */
internal class Match(private val text: Text, val start: Int, val end: Int, private val groups: IntArray) {
    /** What was matched. */
    val value: String get() = text.slice(start, end)

    /** Return what a group matched, counted from 1, or null where it took no part. */
    fun group(number: Int): String? {
        val from = groups[2 * number - 2]
        return if (from < 0) null else text.slice(from, groups[2 * number - 1])
    }
}

/** A text whose places are code points. */
internal class Text(val string: String) {
    private val points: IntArray? = if (hasPairs(string)) pointsOf(string) else null

    /** The text as expressions see it: one unit for each code point. */
    private val seen: String by lazy(LazyThreadSafetyMode.NONE) {
        if (string.none { it in '\ud800'..'\uf8ff' }) string else standIns(points ?: pointsOf(string))
    }
    val length: Int = points?.size ?: string.length

    /** Return the text between two places; places beyond the end are the end. */
    fun slice(start: Int, end: Int = length): String {
        val from = minOf(start, length)
        val to = minOf(maxOf(end, from), length)
        return if (points == null) string.substring(from, to) else String(points, from, to - from)
    }

    /** Return the code point at a place. */
    operator fun get(place: Int): Int = points?.get(place) ?: string[place].code

    /** Yield the matches of an expression, in order. */
    fun matches(pattern: Pattern): Sequence<Match> = sequence {
        val matcher = matcher(pattern)
        while (matcher.find()) yield(match(matcher))
    }

    /** Return the first match of an expression that begins at a place or after it, or null. */
    fun find(pattern: Pattern, from: Int): Match? = matcher(pattern).let { if (it.find(from)) match(it) else null }

    /** Return the match of an expression that begins at a place, or null; it may look at what stands before. */
    fun matchAt(pattern: Pattern, start: Int): Match? {
        if (start > length) return null
        val matcher = matcher(pattern).useTransparentBounds(true).useAnchoringBounds(false).region(start, length)
        return if (matcher.lookingAt()) match(matcher) else null
    }

    /** Return the runs of characters of a kind. */
    fun runs(isOf: (Int) -> Boolean): List<Match> {
        val found = ArrayList<Match>()
        var at = 0
        while (at < length) {
            val start = at
            while (at < length && isOf(this[at])) at += 1
            if (at > start) found.add(Match(this, start, at, NO_GROUPS)) else at += 1
        }
        return found
    }

    private fun matcher(pattern: Pattern): Matcher = pattern.matcher(seen)

    private fun match(found: Matcher): Match {
        val groups = IntArray(2 * found.groupCount()) { if (it % 2 == 0) found.start(it / 2 + 1) else found.end(it / 2 + 1) }
        return Match(this, found.start(), found.end(), groups)
    }

    private companion object {
        val NO_GROUPS = IntArray(0)
    }
}

// Tags, the selectors and the flag before a country's tags are what expressions tell apart beyond U+FFFF. They take the places
// of private characters, which no expression names.
private const val SPECIAL = 0xe0000
private const val SPECIAL_END = 0xe01ff
internal const val SEEN_SPECIAL = 0xe000
private const val BLACK_FLAG = 0x1f3f4
internal const val SEEN_BLACK_FLAG = '\uf8ff'
private const val SEEN_PRIVATE = '\uf000'
private const val SEEN_LETTER = '\ua000'
private const val SEEN_DIGIT = '\ua8d0'
private const val SEEN_LETTER_NUMBER = '\ua6e6'
private const val SEEN_NUMBER = '\ua830'
private const val SEEN_MARK = '\ua66f'
private const val SEEN_OTHER = '\u2603'

private fun standIns(points: IntArray): String {
    val seen = StringBuilder(points.size)
    for (point in points) seen.append(if (point > 0xffff || point in 0xe000..0xf8ff) standIn(point) else point.toChar())
    return seen.toString()
}

private fun standIn(point: Int): Char = when {
    point <= 0xffff -> SEEN_PRIVATE
    point in SPECIAL..SPECIAL_END -> (point - SPECIAL + SEEN_SPECIAL).toChar()
    point == BLACK_FLAG -> SEEN_BLACK_FLAG
    isLetter(point) -> SEEN_LETTER
    isMark(point) -> SEEN_MARK
    !isNumber(point) -> SEEN_OTHER
    else -> when (Character.getType(point).toByte()) {
        Character.DECIMAL_DIGIT_NUMBER -> SEEN_DIGIT
        Character.LETTER_NUMBER -> SEEN_LETTER_NUMBER
        else -> SEEN_NUMBER
    }
}

private fun hasPairs(string: String): Boolean {
    for (at in 1 until string.length) if (Character.isSurrogatePair(string[at - 1], string[at])) return true
    return false
}

/** Return the code points of a string; half a surrogate pair is one of its own. */
internal fun pointsOf(string: String): IntArray {
    val points = IntArray(string.length)
    var count = 0
    forEachPoint(string) { points[count++] = it }
    return points.copyOf(count)
}

internal inline fun forEachPoint(string: String, take: (Int) -> Unit) {
    var at = 0
    while (at < string.length) {
        val point = string.codePointAt(at)
        take(point)
        at += Character.charCount(point)
    }
}

internal inline fun allPoints(string: String, isOf: (Int) -> Boolean): Boolean {
    forEachPoint(string) { if (!isOf(it)) return false }
    return true
}

internal inline fun countPoints(string: String, isOf: (Int) -> Boolean): Int {
    var count = 0
    forEachPoint(string) { if (isOf(it)) count += 1 }
    return count
}

/** Return how many code points a string has. */
internal fun lengthOf(string: String): Int = string.codePointCount(0, string.length)

internal fun textOf(point: Int): String = String(Character.toChars(point))

internal fun isAscii(string: String): Boolean = string.all { it <= '\u007f' }

/** Tell whether a text is spaces alone, at least one. */
internal fun isSpaces(string: String): Boolean = string.isNotEmpty() && string.all { isSpace(it.code) }

/** Return the words between spaces of any kind, as Python's `split()`. */
internal fun split(string: String): List<String> = string.split(*SPACES).filter { it != "" }

private val SPACES = CharArray(0x3001) { it.toChar() }.filter { isSpace(it.code) }.toCharArray()

internal fun stripEnd(string: String): String = string.dropLastWhile { isSpace(it.code) }

internal fun reversed(string: String): String {
    val points = pointsOf(string)
    points.reverse()
    return String(points, 0, points.size)
}

/** Return a table of single characters by code point. Throws JsonError for a key that is more than one. */
internal fun characters(table: Map<String, String>): Map<Int, String> = table.entries.associate { (char, says) ->
    if (lengthOf(char) != 1) throw JsonError("a table of characters holds what is none; make the bundle again")
    char.codePointAt(0) to says
}

/** Return the text with single characters replaced, as Python's `translate`. */
internal fun translate(string: String, table: Map<Int, String>): String {
    val said = StringBuilder(string.length)
    forEachPoint(string) { point ->
        val says = table[point]
        if (says == null) said.appendCodePoint(point) else said.append(says)
    }
    return said.toString()
}

/** Return a text with a question mark for each half of a surrogate pair that stands alone. */
fun replaceSurrogates(text: String): String = withoutSurrogates(text)

/** Return a text without the spaces of any kind at its ends, as Python's `strip()`. */
fun trimmed(text: String): String = text.trim { isSpace(it.code) }
