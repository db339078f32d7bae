package breakfix.guard

import java.text.Normalizer as Unicode
import java.util.regex.Pattern

/**
 * Words and word pieces of a text, each with the characters that it stands for, and what of it goes unread.
 *
 * Words are cut and matched by the tables, which say what the tokenizer's library does to single characters. Knows no model.
 */

private const val CONTINUES = "##"
private const val MOST_CHARACTERS = 100
private const val MOST_CACHED = 4096

/** The script of a Latin word that one strange letter makes unknown: nobody writes one by chance. */
private const val MIXED = "MIXED"

/** What scripts count as in which the guard was not taught, though it has words for them. */
private const val UNTAUGHT = "UNTAUGHT"

/** Token ids, the characters of the text that each stands for, and what goes unread of it by script, in weighed bytes. */
internal class Encoded {
    val ids = ArrayList<Long>()
    val places = ArrayList<Span>()
    val unread = ArrayList<Map<String, Int>>()
}

internal class WordPieces(
    tokenizer: Fields,
    tables: Fields,
    scripts: Fields,
    limits: Fields,
    private val plain: (String) -> String,
) {
    private val ids: Map<String, Long>
    private val unknown: Long
    private val longest: Int
    private val added: Pattern
    private val dropped = Ranges(tables.list("dropped"))
    private val punctuation = Ranges(tables.list("punctuation"))
    private val apart = Ranges(tables.list("apart"))
    private val exceptions = characters(tables.strings("exceptions"))
    private val scripts = Scripts(scripts)
    private val taught = limits.texts("taught").toSet()
    private val longestWord = limits.int("longest_word")
    private val mostUnread = limits.int("unread")
    private val unknownWeighs = limits.int("unknown")
    private val cache = HashMap<Int, String>()

    init {
        val vocabulary = tokenizer.fields("model").fields("vocab")
        val special = tokenizer.objects("added_tokens").associate { it.text("content") to it.long("id") }
        ids = vocabulary.names.associateWithTo(HashMap(), vocabulary::long).apply { putAll(special) }
        unknown = id("[UNK]")
        longest = ids.keys.maxOf { it.length }
        added = Pattern.compile(special.keys.sortedByDescending { it.length }.joinToString("|", transform = Pattern::quote))
    }

    /** Return the id of a token that must be there. Throws JsonError. */
    fun id(token: String): Long = ids[token] ?: throw JsonError("the guard's tokenizer has no $token; make the bundle again")

    fun encode(text: String): Encoded {
        val cut = Cut(withoutSurrogates(text), longestWord)
        val found = Encoded()
        var at = 0
        for (match in cut.text.matches(added)) {
            words(cut, at, match.start, found)
            add(found, id(match.value), Span(cut.origins[match.start], cut.origins[match.end - 1] + 1), match.value)
            at = match.end
        }
        words(cut, at, cut.text.length, found)
        return found
    }

    /** A text with spaces in words that are too long to be read, and where each character comes from. */
    private class Cut(raw: String, longest: Int) {
        val text: Text
        val origins: IntArray

        init {
            val chars = StringBuilder()
            val places = ArrayList<Int>()
            var run = 0
            var at = 0
            forEachPoint(raw) { point ->
                run = if (isSpace(point)) 0 else run + 1
                if (run > longest) {
                    chars.append(' ')
                    places.add(at)
                    run = 1
                }
                chars.appendCodePoint(point)
                places.add(at)
                at += 1
            }
            text = Text(chars.toString())
            origins = places.toIntArray()
        }
    }

    /** A word as the tokenizer reads it, and the place of each of its characters. */
    private class Word {
        val says = StringBuilder()
        val ats = ArrayList<Int>()
    }

    /** Cut a stretch into words, at spaces and around punctuation and ideographs, and add their pieces. */
    private fun words(cut: Cut, from: Int, to: Int, found: Encoded) {
        var word = Word()
        fun flush() {
            if (word.ats.isNotEmpty()) pieces(word, cut, found)
            word = Word()
        }
        for (at in from until to) {
            forEachPoint(normal(cut.text[at])) { point ->
                val alone = point in punctuation
                if (point == ' '.code || alone) flush()
                if (point != ' '.code) {
                    word.says.appendCodePoint(point)
                    word.ats.add(at)
                }
                if (alone) flush()
            }
        }
        flush()
    }

    /** Return what the tokenizer makes of a character: nothing, a space, or small letters without accents. */
    private fun normal(point: Int): String {
        cache[point]?.let { return it }
        if (cache.size >= MOST_CACHED) cache.clear()
        return normalized(point).also { cache[point] = it }
    }

    private fun normalized(point: Int): String {
        if (point in dropped || isPrivate(point)) return ""
        exceptions[point]?.let { return it }
        if (isSpace(point)) return " "
        val said = StringBuilder()
        forEachPoint(Unicode.normalize(textOf(point), Unicode.Form.NFD)) { part ->
            if (part !in dropped) said.append(textOf(part).lowercase())
        }
        return if (point in apart) " $said " else said.toString()
    }

    private class Piece(val id: Long, val start: Int, val end: Int)

    /** Add the longest pieces that a word is made of, from its start; the whole word is unknown where one is missing. */
    private fun pieces(word: Word, cut: Cut, found: Encoded) {
        val says = Text(word.says.toString())
        var pieces = ArrayList<Piece>()
        var start = 0
        while (start < says.length) {
            val piece = if (says.length > MOST_CHARACTERS) null else longest(says, start)
            if (piece == null) {
                pieces = arrayListOf(Piece(unknown, 0, says.length))
                break
            }
            pieces.add(piece)
            start = piece.end
        }
        for (piece in pieces) {
            val (first, last) = word.ats[piece.start] to word.ats[piece.end - 1]
            add(found, piece.id, Span(cut.origins[first], cut.origins[last] + 1), cut.text.slice(first, last + 1))
        }
    }

    /** Return the longest piece that begins at a place of a word; no piece is longer than the longest of the vocabulary. */
    private fun longest(word: Text, start: Int): Piece? {
        for (end in minOf(word.length, start + longest) downTo start + 1) {
            val piece = word.slice(start, end)
            ids[if (start > 0) CONTINUES + piece else piece]?.let { return Piece(it, start, end) }
        }
        return null
    }

    private fun add(found: Encoded, id: Long, place: Span, written: String) {
        found.ids.add(id)
        found.places.add(place)
        found.unread.add(unread(written, id == unknown))
    }

    /** Count what goes unread of a word; styled and look-alike Latin letters are read in the plain spelling. */
    private fun unread(word: String, isUnknown: Boolean): Map<String, Int> {
        if (isAscii(word)) return emptyMap()
        val letters = pointsOf(if (isUnknown) plain(word) else word).filter(scripts::isLetter)
        val strange = letters.filter { it > 0x7f }
        if (isUnknown && strange.isNotEmpty() && strange.size < letters.size) return mapOf(MIXED to mostUnread + 1)
        val bytes = HashMap<String, Int>()
        for (point in strange) {
            val script = scripts.of(point).orEmpty()
            val (counted, weight) = when {
                isUnknown -> script to unknownWeighs
                script in taught -> script to -unknownWeighs
                else -> UNTAUGHT to 1
            }
            bytes[counted] = (bytes[counted] ?: 0) + sizeOf(point) * weight
        }
        return bytes
    }
}

/**
 * The script of each letter beyond ASCII, and with it which characters are letters, whatever Unicode data the machine has: a
 * phone with older data than the tables' must not take what it does not know for no letter, and let it pass unread.
 */
private class Scripts(tables: Fields) {
    private class Range(val first: Int, val last: Int, val name: String)

    private val ranges = tables.names.flatMap { name ->
        tables.list(name).map { pair ->
            val ends = (pair as? List<*>)?.map { (it as? Long)?.toInt() ?: 0 }
            if (ends?.size != 2) throw JsonError("the table of scripts is damaged; make the bundle again")
            Range(ends[0], ends[1], name)
        }
    }.sortedBy { it.first }
    private val firsts = IntArray(ranges.size) { ranges[it].first }

    fun isLetter(point: Int): Boolean = if (point <= 0x7f) point.toChar().isLetter() else of(point) != null

    fun of(point: Int): String? {
        val at = java.util.Arrays.binarySearch(firsts, point)
        val range = ranges.getOrNull(if (at >= 0) at else -at - 2) ?: return null
        return range.name.takeIf { point <= range.last }
    }
}
