package breakfix.guard

import java.util.regex.Pattern

/**
 * Words in which digits and signs stand for letters: h0w, k!ll, 4nsw3r.
 *
 * Knows nothing of categories, models or other codes. A number stays one unless it stands among words of leetspeak.
 */

private const val SIGNS = "0-9@\$!|+(€£¢"

// Digits and signs in a word, or alone.
private val LEET_WORD =
    Pattern.compile("(?<![$WORD_CLASS@\$!|+(€£¢])[a-zA-Z]{0,24}+[$SIGNS][a-zA-Z$SIGNS]{0,24}+")

// What stands before and after a word by itself, not a part of a name, a number, an address or a line of code.
private val BEFORE = Pattern.compile("(?<![^$SPACE_CLASS\"'“‘*(\\[>,])")
private val AFTER = Pattern.compile("[\"'”’*)\\],;:.?!…]{0,3}(?![^$SPACE_CLASS])")

// Letters and signs that take turns, but not as in a hash.
private val HASH = Pattern.compile("[0-9a-f]{6,}")
private val MIXED = Pattern.compile("[a-zA-Z][0-9@\$!]+[a-zA-Z]|[0-9@\$!][a-zA-Z]+[0-9@\$!]")
private const val MOST_CHOICES = 4
private const val WORDS_BESIDE = 5

internal class Leetspeak(tables: Fields, private val language: Language) {
    private val letters = characters(tables.strings("leet"))
    private val beside = tables.int("beside")

    private class Word(val start: Int, val text: String) {
        val end get() = start + text.length
    }

    /** Return the words in which digits and signs stand for letters, and what may be such right beside those. */
    fun read(text: String): List<Edit> {
        val whole = Text(text)
        val words = whole.matches(LEET_WORD).map { Word(it.start, it.value.take(1) + it.value.drop(1).trimEnd('!')) }.toList()
        // Where l is written as l, or i as i, the signs for both stand for the other.
        val written = words.joinToString("") { it.text }.lowercase()
        val forI = 1 + (if ('l' in written) 2 else 0) - (if ('i' in written) 3 else 0)
        val says = words.map { unleeted(it.text, forI) }
        val sure = words.mapIndexed { at, word -> isWord(says[at], 0.35) && isMixed(word.text) && isAlone(whole, word) }
        return words.mapIndexedNotNull { at, word ->
            val near = (maxOf(at - WORDS_BESIDE, 0)..minOf(at + WORDS_BESIDE, words.size - 1))
                .count { sure[it] && Math.abs(words[it].start - word.start) < beside }
            val least = if (near < 2 || word.text.all { it in '0'..'9' }) 0.35 else -0.2
            if (sure[at] || (near > 0 && isWord(says[at], least))) Edit(word.start, word.end, says[at], "leetspeak") else null
        }
    }

    private fun isWord(word: String, least: Double): Boolean =
        language.isCommon(word) || (word.length > 2 && language.weight(word) > least * (word.length + 1))

    private fun isMixed(word: String): Boolean = !HASH.matcher(word).matches() && MIXED.matcher(word).find()

    private fun isAlone(text: Text, word: Word): Boolean =
        text.matchAt(BEFORE, word.start) != null && text.matchAt(AFTER, word.end) != null

    /** Return the best of what a word may say, in letters alone; empty where there is no such reading. */
    private fun unleeted(word: String, forI: Int): String {
        var choices = word.map { letters[it.code] ?: it.toString() }
        if (choices.count { it.length > 1 } > MOST_CHOICES) choices = choices.map { it.take(1) }
        val readings = choices.fold(listOf("")) { begun, choice -> begun.flatMap { each -> choice.map { each + it } } }
        var best = ""
        var most = Double.NEGATIVE_INFINITY
        for (says in readings) {
            val merit = language.merit(says) - forI * says.count { it == 'l' }
            if (merit > most) {
                best = says
                most = merit
            }
        }
        return if (best.all { it in 'a'..'z' || it in 'A'..'Z' }) best else ""
    }
}
