package breakfix.guard

/**
 * Letters that stand apart, put together again: `h o w  t o`, `h.o.w t.o`, `b.o.m.b`.
 *
 * The expressions of the Python guard repeat a group, which a Java machine matches by going deeper with each letter; so they
 * are spelled out here. Knows nothing of what the letters say.
 */

private const val WIDEST = 4
private const val LEAST = 4

/** Return the words whose letters stand apart, with what stands further or otherwise apart between them. */
internal fun spacedWords(text: Text): List<Edit> = apart(text, ::parted) { _, space -> space.length <= WIDEST }

/** Return letters that stand evenly apart, with the same between all of them. */
internal fun evenlySpaced(text: Text): List<Edit> = apart(text, ::joined) { first, space -> space == first }

/** Return letters with any one sign between them. */
internal fun spacedLetters(text: Text): List<Edit> = apart(text, ::joined) { _, space -> space.length == 1 }

/**
 * Return what becomes of four or more letters and digits that stand apart as they should (`fits`, of what is between the first
 * two and what is at hand), where no word goes on before or behind. Digits alone are a table or a version.
 *
 * Goes over no run twice: what cannot end one that begins at its first letter cannot end one that begins at a later.
 */
private fun apart(text: Text, said: (List<String>, List<String>) -> String?, fits: (String, String) -> Boolean): List<Edit> {
    val edits = ArrayList<Edit>()
    var at = 0
    while (at < text.length) {
        if (!isSign(text[at]) || (at > 0 && isWord(text[at - 1]))) {
            at += 1
            continue
        }
        val run = run(text, at, fits)
        val count = (run.size downTo LEAST).firstOrNull { endsThere(text, run[it - 1] + 1) }
        if (count == null) {
            at = maxOf(run.last(), at + 1)
            continue
        }
        val places = run.subList(0, count)
        val end = places.last() + 1
        if (places.any { isWordLetter(text[it]) }) {
            val letters = places.map { text.slice(it, it + 1) }
            val spaces = places.zipWithNext { one, other -> text.slice(one + 1, other) }
            said(letters, spaces)?.let { edits.add(Edit(at, end, it, "")) }
        }
        at = end
    }
    return edits
}

private fun endsThere(text: Text, end: Int): Boolean = end == text.length || !isWord(text[end])

/** Return the places of the letters that stand apart from each other as they should, from the first on. */
private fun run(text: Text, start: Int, fits: (String, String) -> Boolean): List<Int> {
    val places = arrayListOf(start)
    var first: String? = null
    while (true) {
        var next = places.last() + 1
        while (next < text.length && isBetween(text[next])) next += 1
        if (next == places.last() + 1 || next == text.length || !isSign(text[next])) return places
        val space = text.slice(places.last() + 1, next)
        first = first ?: space
        if (!fits(first, space)) return places
        places.add(next)
    }
}

private fun isBetween(point: Int): Boolean = point < 0x80 && point.toChar() in " .-_*"

private fun joined(letters: List<String>, @Suppress("UNUSED_PARAMETER") spaces: List<String>): String = letters.joinToString("")

/** Join the letters of words that have other spaces between them than their letters have; null where there are none such. */
private fun parted(letters: List<String>, spaces: List<String>): String? {
    val lengths = spaces.groupingBy { it.length }.eachCount()
    val inside = lengths.entries.minWithOrNull(compareBy({ -it.value }, { it.key }))?.key
    val single = spaces.count { it == " " }
    val ends = when {
        lengths.size > 1 -> spaces.map { it.length != inside }
        single > 0 && 2 * single <= spaces.size -> spaces.map { it == " " }
        else -> return null
    }
    return letters.mapIndexed { at, letter -> if (at > 0 && ends[at - 1]) " $letter" else letter }.joinToString("")
}
