package breakfix.guard

/**
 * Words that are English when their letters stand for others: ROT13 and its like, Atbash, reversed and upside-down words.
 *
 * Knows nothing of categories, models or encodings. Nothing is read but stretches that are clearly more English then.
 */

private const val TURNED = "upside-down"
private const val TURNED_SIGNS = "ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ"

/** One run of a text and what it says. */
internal data class Edit(
    val start: Int,
    val end: Int,
    val text: String,
    /** How it was written. */
    val how: String,
    /** Whether its last character is the first of what it says. */
    val backwards: Boolean = false,
)

/** A way to write every letter as another one, or from the end. */
private class Cipher(
    val how: String,
    val table: Map<Int, String>,
    val backwards: Boolean = false,
    /** Letters of the shortest common word that is a sign of it. */
    val shortest: Int = 2,
) {
    fun read(text: String): String = translate(text, table).let { if (backwards) reversed(it) else it }
}

/** Ciphers, and the common words as they write them, but for those that are words again. */
private class Family(val ciphers: List<Cipher>, val signs: Map<String, List<Int>>)

private class Found(val gain: Double, val first: Int, val last: Int, val number: Int)

/** The greatest gain first, then the last in the text, then the last of the ciphers. */
private val CLEAREST = compareByDescending<Found> { it.gain }.thenByDescending { it.first }.thenByDescending { it.last }
    .thenByDescending { it.number }

internal class Ciphers(tables: Fields, private val language: Language) {
    private val gain = tables.number("gain")
    private val gainEach = tables.number("gain_each")
    private val drop = tables.number("drop")
    private val gap = tables.int("gap")
    private val around = tables.int("around")
    private val mostScored = tables.int("most_scored")
    private val turned: Family
    private val rotated: Family

    init {
        val letters = characters(tables.strings("turned"))
        turned = family(listOf(Cipher(TURNED, letters, backwards = true), Cipher(TURNED, letters)))
        // By chance two letters are a word in one or other of the many shifts.
        val shifts = (1 until LETTERS.length).filter { it != 13 }.map { alphabet("rot$it", rotated(it), shortest = 3) }
        val known = listOf(alphabet("rot13", rotated(13)), alphabet("atbash", reversed(LETTERS)))
        rotated = family(listOf(Cipher("reversed", emptyMap(), backwards = true)) + known + shifts)
    }

    /** Return the stretches of words that read better in ROT13, another shift, Atbash or backwards. */
    fun read(text: String): List<Edit> = ciphered(text, rotated)

    /** Return the stretches of words that are written in turned letters, the lines turned with them or not. */
    fun upsideDown(text: String): List<Edit> = if (text.any { it in TURNED_SIGNS }) ciphered(text, turned) else emptyList()

    private fun family(ciphers: List<Cipher>): Family {
        val signs = HashMap<String, MutableList<Int>>()
        ciphers.forEachIndexed { number, cipher ->
            val writes = cipher.table.entries.associate { (written, says) -> says.codePointAt(0) to textOf(written) }
            for (word in language.common) {
                val letters = translate(word, writes)
                val written = if (cipher.backwards) reversed(letters) else letters
                // Of the upside-down letters half are letters as they stand: only the others are a sign.
                val plain = written in language.common || (cipher.how == TURNED && isAscii(written))
                if (word.length >= cipher.shortest && !plain) signs.getOrPut(written) { ArrayList() }.add(number)
            }
        }
        return Family(ciphers, signs)
    }

    /** Return the stretches of words that read better in one of these ciphers, the clearest where they overlap. */
    private fun ciphered(text: String, family: Family): List<Edit> {
        val whole = Text(text)
        val words = wholeWords(whole)
        val taken = BooleanArray(words.size)
        val kept = ArrayList<Edit>()
        for (found in found(words, family).sortedWith(CLEAREST)) {
            if ((found.first until found.last).any { taken[it] }) continue
            taken.fill(true, found.first, found.last)
            kept.add(deciphered(whole, words[found.first].start, words[found.last - 1].end, family.ciphers[found.number]))
        }
        return kept
    }

    private fun found(words: List<Match>, family: Family): List<Found> {
        val places = LinkedHashMap<Int, MutableList<Int>>()
        words.forEachIndexed { at, word ->
            for (number in family.signs[word.value.lowercase()].orEmpty()) places.getOrPut(number) { ArrayList() }.add(at)
        }
        var scored = 0
        val found = ArrayList<Found>()
        for ((number, at) in places.entries.sortedByDescending { it.value.size }) {
            for ((first, last) in around(at, words.size, around)) {
                scored += last - first
                if (scored > mostScored) continue
                found += stretches(words.subList(first, last), first, number, family.ciphers[number])
            }
        }
        return found
    }

    /** Return the stretches of words that gain from a cipher, two or more, a fifth of them common; [from] counts before. */
    private fun stretches(words: List<Match>, from: Int, number: Int, cipher: Cipher): List<Found> {
        val written = words.map { it.value }
        val says = written.map(cipher::read)
        val gains = says.mapIndexed { at, word -> language.merit(word) - language.merit(written[at]) }
        val found = ArrayList<Found>()
        var begin = 0
        var end = 0
        var least = 0
        var sum = 0.0
        var most = 0.0
        for (at in 0..words.size) {
            val cut = at == words.size || (at > 0 && words[at].start - words[at - 1].end > gap)
            if (cut || sum < maxOf(0.0, most - drop)) {
                if (isClear(says.subList(begin, maxOf(begin, end)), most)) {
                    // Words at the edges that could be either belong to it as well.
                    while (begin > least && either(gains[begin - 1], written[begin - 1], says[begin - 1])) begin -= 1
                    while (end < at && either(gains[end], written[end], says[end])) end += 1
                    found.add(Found(most, from + begin, from + end, number))
                    least = end
                }
                sum = 0.0
                most = 0.0
                least = if (cut) at else least
            }
            if (at == words.size) break
            begin = if (sum == 0.0) at else begin
            sum += gains[at]
            if (sum > most) {
                most = sum
                end = at + 1
            }
        }
        return found
    }

    private fun isClear(says: List<String>, most: Double): Boolean {
        if (most < maxOf(gain, gainEach * says.size) || says.size < 2) return false
        return 5 * says.count(language::isCommon) >= says.size
    }

    private fun either(gain: Double, word: String, says: String): Boolean =
        gain > -lengthOf(word) && (language.isCommon(says) || !language.isCommon(word))

    private fun deciphered(text: Text, start: Int, end: Int, cipher: Cipher): Edit {
        val written = text.slice(start, end)
        val readings = ArrayList(listOf(cipher.read(written)))
        if (cipher.how == "reversed") {
            // Words may be reversed where they stand, with what is written on to them or without.
            readings.add(turned(written) { !isSpace(it) })
            readings.add(turned(written, ::isWordLetter))
        }
        val orders = readings.map(language::order)
        val best = orders.indexOf(orders.maxOrNull())
        return Edit(start, end, readings[best], cipher.how, cipher.backwards && best == 0)
    }
}

/** Return the words that stand by themselves, not beside a digit or a sign of leetspeak. */
private fun wholeWords(text: Text): List<Match> {
    val isBeside = { place: Int -> place in 0 until text.length && isBeside(text[place]) }
    return text.runs(::isWordLetter).filterNot { isBeside(it.start - 1) || isBeside(it.end) }
}

private fun isBeside(point: Int): Boolean = isWord(point) || point == '@'.code || point == '$'.code

/** Return a text with each run of such characters turned round. */
private fun turned(text: String, isOf: (Int) -> Boolean): String {
    val whole = Text(text)
    val said = StringBuilder()
    var at = 0
    for (run in whole.runs(isOf)) {
        said.append(whole.slice(at, run.start)).append(reversed(run.value))
        at = run.end
    }
    return said.append(whole.slice(at)).toString()
}

private fun alphabet(how: String, letters: String, shortest: Int = 2): Cipher {
    val written = LETTERS + LETTERS.uppercase()
    val says = letters + letters.uppercase()
    return Cipher(how, written.indices.associate { written[it].code to says[it].toString() }, shortest = shortest)
}

private fun rotated(by: Int): String = LETTERS.drop(by) + LETTERS.take(by)

/** Return the ranges of words around these places, joined where they meet. */
private fun around(places: List<Int>, count: Int, reach: Int): List<Pair<Int, Int>> {
    val found = ArrayList<Pair<Int, Int>>()
    var first = maxOf(places[0] - reach, 0)
    var last = first
    for (at in places) {
        if (at - reach > last) {
            found.add(first to last)
            first = at - reach
        }
        last = minOf(at + reach + 1, count)
    }
    found.add(first to last)
    return found
}
