package breakfix.guard

/**
 * Phrases to look for in the plain spelling of a text, as whole words in any case, whatever punctuation is between.
 *
 * Knows nothing of policies.
 */

private const val SIGNS = "#%&@"
private const val BEYOND_PHRASE = 64

internal class PhraseList(phrases: List<String>, private val normalizer: Normalizer, casefold: Map<String, String>) {
    private val casefold = characters(casefold)

    /** What of a phrase may follow: its next words, and whether it may end here. */
    private class Node(val next: HashMap<String, Node> = HashMap(), var ends: Boolean = false)

    private class Word(val start: Int, val end: Int, val folded: String)

    private val spelled = phrases.map { normalizer.plainForm(it).text }

    /** A sign counts where it is a part of some phrase: C++ and C# are other words than C. */
    private val signs: Set<Int> =
        spelled.flatMap { pointsOf(it).toList() }.filterTo(HashSet()) { isSymbol(it) || (it < 0x80 && it.toChar() in SIGNS) }
    private val longest = spelled.maxOfOrNull(::lengthOf) ?: 0
    private val tree = Node()

    /** A phrase without a word or a sign is never found. */
    init {
        for (phrase in spelled) {
            val words = words(Text(phrase))
            if (words.isEmpty()) continue
            words.fold(tree) { node, word -> node.next.getOrPut(word.folded) { Node() } }.ends = true
        }
    }

    /** Return the span of the first phrase in a text, or null. */
    fun first(text: String): Span? {
        if (tree.next.isEmpty()) return null
        val plain = normalizer.plainForm(text)
        val words = words(plain.whole)
        for (first in words.indices) {
            var node = tree
            for (at in first until words.size) {
                node = node.next[words[at].folded] ?: break
                if (node.ends) return plain.span(words[first].start, words[at].end)
            }
        }
        return null
    }

    /** Tell whether a text is one of the phrases and nothing else, not even anything that a reader does not see. */
    fun matchesWhole(text: String): Boolean {
        if (lengthOf(text) > 2 * longest + BEYOND_PHRASE) return false
        if (!allPoints(text) { it in signs || isWriting(it) }) return false
        var node = tree
        for (word in words(normalizer.plainForm(text).whole)) node = node.next[word.folded] ?: return false
        return node.ends
    }

    private fun words(text: Text): List<Word> {
        val found = ArrayList<Word>()
        var at = 0
        while (at < text.length) {
            val start = at
            while (at < text.length && isPart(text[at])) at += 1
            if (at == start) {
                at += 1
                if (!isUnspaced(text[start]) && text[start] !in signs) continue
            }
            found.add(Word(start, at, folded(text.slice(start, at))))
        }
        return found
    }

    private fun folded(word: String): String {
        val said = StringBuilder()
        forEachPoint(word) { said.append(casefold[it] ?: textOf(it).lowercase()) }
        return said.toString()
    }
}

/** Writing that sets no spaces: every character is a word. */
private fun isUnspaced(point: Int): Boolean = when (point) {
    in 0xe00..0xeff, in 0x1000..0x109f, in 0x1780..0x17ff, in 0x3040..0x30ff, in 0x3400..0x9fff, in 0xf900..0xfaff,
    in 0x20000..0x3ffff,
    -> true
    else -> false
}

private fun isPart(point: Int): Boolean = !isUnspaced(point) && (isSign(point) || isWordMark(point))

/** Tell the marks that scripts need, and those that stand on any letter. */
private fun isWordMark(point: Int): Boolean = (point in 0x300..0x1dff || point in 0xa600..0xabff) && isMark(point)

private fun isWriting(point: Int): Boolean =
    isWritten(point) || point == 9 || point == 10 || point == 13 || (point in 0x591..0x1aaf && isWordMark(point))
