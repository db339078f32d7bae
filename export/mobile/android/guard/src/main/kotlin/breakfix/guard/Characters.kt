package breakfix.guard

/**
 * What Python says of characters, as code points, so that this guard counts and decides as the Python one does.
 *
 * The kinds of characters are those of the machine's Unicode data: where these are older than the tables', newer letters are
 * none. What lets a text pass unread does not go by them (see WordPieces). Knows nothing of texts.
 */

/** The class `\w` of Python, to stand inside brackets of an expression. */
internal const val WORD_CLASS = "\\p{L}\\p{N}_"

/** The class `\s` of Python, likewise: without U+FEFF, with the separators U+001C to U+001F and U+0085. */
internal const val SPACE_CLASS =
    "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

private fun bits(vararg types: Byte): Int = types.fold(0) { set, type -> set or (1 shl type.toInt()) }

private val LETTERS_OF = bits(
    Character.UPPERCASE_LETTER, Character.LOWERCASE_LETTER, Character.TITLECASE_LETTER, Character.MODIFIER_LETTER,
    Character.OTHER_LETTER,
)
private val NUMBERS_IN_WORDS = bits(Character.LETTER_NUMBER, Character.OTHER_NUMBER)
private val NUMBERS = NUMBERS_IN_WORDS or bits(Character.DECIMAL_DIGIT_NUMBER)
private val MARKS = bits(Character.NON_SPACING_MARK, Character.COMBINING_SPACING_MARK, Character.ENCLOSING_MARK)
private val SEPARATORS = bits(Character.SPACE_SEPARATOR, Character.LINE_SEPARATOR, Character.PARAGRAPH_SEPARATOR)
private val PUNCTUATION = bits(
    Character.CONNECTOR_PUNCTUATION, Character.DASH_PUNCTUATION, Character.START_PUNCTUATION, Character.END_PUNCTUATION,
    Character.INITIAL_QUOTE_PUNCTUATION, Character.FINAL_QUOTE_PUNCTUATION, Character.OTHER_PUNCTUATION,
)
private val SYMBOLS =
    bits(Character.MATH_SYMBOL, Character.CURRENCY_SYMBOL, Character.MODIFIER_SYMBOL, Character.OTHER_SYMBOL)
private val INVISIBLE = bits(Character.FORMAT, Character.CONTROL, Character.PRIVATE_USE, Character.SURROGATE)
private val OTHERS = INVISIBLE or bits(Character.UNASSIGNED)

private fun isOf(kinds: Int, point: Int): Boolean = kinds ushr Character.getType(point) and 1 == 1

internal fun isLetter(point: Int): Boolean = isOf(LETTERS_OF, point)

/** Tell whether a character is a number of any kind, as `\p{N}`. */
internal fun isNumber(point: Int): Boolean = isOf(NUMBERS, point)

/** Tell whether a character may stand in a word of language: `[^\W\d_]` of Python. */
internal fun isWordLetter(point: Int): Boolean = isOf(LETTERS_OF or NUMBERS_IN_WORDS, point)

/** Tell whether a character is of `[^\W_]`. */
internal fun isSign(point: Int): Boolean = isOf(LETTERS_OF or NUMBERS, point)

/** Tell whether a character is of `\w`. */
internal fun isWord(point: Int): Boolean = point == '_'.code || isSign(point)

internal fun isMark(point: Int): Boolean = isOf(MARKS, point)

internal fun isSymbol(point: Int): Boolean = isOf(SYMBOLS, point)

/** Tell whether a character is a letter, a number, punctuation or a separator. */
internal fun isWritten(point: Int): Boolean = isOf(LETTERS_OF or NUMBERS or PUNCTUATION or SEPARATORS, point)

/** Tell whether a character is of Cf, Cc, Co or Cs. */
internal fun isInvisible(point: Int): Boolean = isOf(INVISIBLE, point)

internal fun isPrivate(point: Int): Boolean = Character.getType(point) == Character.PRIVATE_USE.toInt()

internal fun isSurrogate(point: Int): Boolean = point in 0xd800..0xdfff

/** Tell whether two characters may be one on the screen, by the second: a mark, a joiner, half a pair. */
internal fun isJoined(point: Int): Boolean = isOf(MARKS or bits(Character.FORMAT, Character.SURROGATE), point)

/** Tell whether a character can be seen, or is the space. */
internal fun isPrintable(point: Int): Boolean = point == ' '.code || !isOf(OTHERS or SEPARATORS, point)

internal fun isSpace(point: Int): Boolean = when (point) {
    in 0x09..0x0d, in 0x1c..0x20, 0x85, 0xa0, 0x1680, in 0x2000..0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000 -> true
    else -> false
}

/** Return the length of a character in UTF-8. */
internal fun sizeOf(point: Int): Int = if (point <= 0x7f) 1 else if (point <= 0x7ff) 2 else if (point <= 0xffff) 3 else 4

/** Ranges of code points, [first, last] in ascending order. */
internal class Ranges(pairs: List<Any?>) {
    private val firsts: IntArray
    private val lasts: IntArray

    init {
        val ends = pairs.map { pair -> (pair as? List<*>)?.map { (it as? Long)?.toInt() } }
        if (ends.any { it == null || it.size != 2 || it[0] == null || it[1] == null }) {
            throw JsonError("a range of characters has not two ends; make the bundle again")
        }
        firsts = IntArray(ends.size) { ends[it]!![0]!! }
        lasts = IntArray(ends.size) { ends[it]!![1]!! }
    }

    operator fun contains(point: Int): Boolean {
        val at = java.util.Arrays.binarySearch(firsts, point)
        return at >= 0 || (at < -1 && point <= lasts[-at - 2])
    }
}
