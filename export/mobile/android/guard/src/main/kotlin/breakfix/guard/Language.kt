package breakfix.guard

import java.util.regex.Pattern

/**
 * Tells English from letters in any other order, by common words and by which letters follow each other.
 *
 * Knows nothing of codes and ciphers. Other scripts count as language where they keep to themselves.
 */

internal const val LETTERS = "abcdefghijklmnopqrstuvwxyz"
private const val EDGE = 26
private const val EDGES = EDGE + 1
private const val LATIN_END = 0x240
private const val EAST_ASIA = 0x2e
private val STOP_AFTER = Pattern.compile("[$WORD_CLASS][.,;:?!](?![^$SPACE_CLASS])")
private val STOP_BEFORE = Pattern.compile("(?<![^$SPACE_CLASS])[.,;:?!][$WORD_CLASS]")

internal class Language(tables: Fields) {
    /** Words that English text of any length has some of. */
    val common: Set<String> = tables.texts("common").toHashSet()
    private val sequences = tables.texts("sequences").toHashSet()

    /** The weight of two neighbouring letters, the edge of a word the 27th; those of other alphabets say nothing. */
    private val pairs: DoubleArray = weights(tables.texts("pairs"))

    /** Tell whether a text reads as English, or as writing in a script that English does not use. */
    fun isLanguage(text: String): Boolean {
        val seen = text.filterNot { it in " \t\r\n" }
        val length = lengthOf(seen)
        val words = wordsOf(text)
        val letters = words.sumOf(::lengthOf)
        val marks = countPoints(seen, ::isMark)
        if (length < 4 || !allPoints(seen, ::isPrintable)) return false
        if (letters + marks < (if (letters < 12) 0.8 else 0.5) * length) return false
        val foreign = pointsOf(seen).filter { it > LATIN_END && (isLetter(it) || isMark(it)) }
        if (2 * foreign.size > length) return foreign.size >= 4 && mostInOneBlock(foreign) > 0.8 * foreign.size
        if (isSpaced(seen, length, words.size, letters)) return true
        val pairs = letters + words.size
        val known = words.sumOf { if (isCommon(it)) lengthOf(it) + 1 else 0 }
        val weight = words.sumOf(::weight)
        val least = pairs * (if (letters > 11) 0.25 else 0.4)
        return weight + known / 2.0 > least && least > 0
    }

    fun isCommon(word: String): Boolean = word.lowercase() in common

    /** Return how much likelier these letters make an English word than by chance, as a logarithm. */
    fun weight(word: String): Double {
        var sum = 0.0
        var before = EDGE
        for (char in word.lowercase()) {
            val at = if (char in 'a'..'z') char - 'a' else if (char == ' ') EDGE else -1
            if (before >= 0 && at >= 0) sum += pairs[before * EDGES + at]
            before = at
        }
        return if (before >= 0) sum + pairs[before * EDGES + EDGE] else sum
    }

    /** Return the weight of a word, common ones set above the rest: e to this is how likely it is English. */
    fun merit(word: String): Double = weight(word) + (if (isCommon(word)) 2.0 else 0.0)

    /** Return how well the words of a text follow each other; the same words the other way round have less of it. */
    fun order(text: String): Int {
        val words = wordsOf(text).map { it.lowercase() }
        val follows = words.zipWithNext().count { (one, other) -> "$one $other" in sequences }
        val whole = Text(text)
        val stops = whole.matches(STOP_AFTER).count() - whole.matches(STOP_BEFORE).count()
        val last = split(text).lastOrNull() ?: ""
        return 2 * follows + 2 * stops + isUpper(text).compareTo(false) - isUpper(last).compareTo(false)
    }
}

/** Return the words of a text: letters alone. */
internal fun wordsOf(text: String): List<String> = Text(text).runs(::isWordLetter).map { it.value }

/** Tell whether letters look like words of some language in Latin letters: chance sets no spaces. */
private fun isSpaced(seen: String, length: Int, words: Int, letters: Int): Boolean {
    if (letters <= 19 || letters <= 0.8 * length) return false
    val each = letters.toDouble() / words
    val vowels = seen.lowercase().count { it in "aeiou" }.toDouble() / letters
    return 2 < each && each < 12 && 0.2 < vowels && vowels < 0.6
}

/** Chance hits every script in turn; a writer keeps to one, or to the many blocks of East Asia. */
private fun mostInOneBlock(points: List<Int>): Int =
    points.groupingBy { minOf(it shr 8, EAST_ASIA) }.eachCount().values.maxOrNull() ?: 0

private fun isUpper(text: String): Boolean = text != "" && Character.isUpperCase(text.codePointAt(0))

private fun weights(rows: List<String>): DoubleArray {
    if (rows.size != EDGES || rows.any { row -> row.length != EDGES || row.any { it !in '0'..'9' } }) {
        throw JsonError("the weights of letters are no table of $EDGES by $EDGES; make the bundle again")
    }
    return DoubleArray(EDGES * EDGES) { (rows[it / EDGES][it % EDGES] - '0' - 6) * 0.7 }
}
