package breakfix.guard

import java.text.Normalizer as Unicode
import java.util.regex.Pattern

/**
 * Other readings of the same text: what a reader sees or a model decodes, whatever the code points are.
 *
 * Knows nothing of categories or models. Every function is linear in the length of its input.
 */

private val SPACES = Pattern.compile(" {2,}|\\A | \\z")

// Characters that NFKC changes by themselves (c), that may join the one before (j), both (b) or neither (.). The runs are
// short: the order of marks is settled in quadratic time.
private val COMPATIBLE = Pattern.compile("(?:[cb][jb]{0,30}){1,16}|[.cjb][jb]{1,30}")
private const val KINDS = ".cjb"

internal class Normalizer(tables: Fields, combining: List<Any?>, private val decoder: Decoder) {
    private val pictured = characters(tables.strings("pictured"))
    private val phonetic = characters(tables.strings("phonetic"))
    private val lookalikes = characters(tables.strings("lookalikes"))
    private val joining = pointsOf(tables.text("joining")).toHashSet()
    private val combining = Ranges(combining)
    private val layers = tables.int("layers")
    private val long = tables.int("long")
    private val block = tables.int("block")
    private val longest = tables.int("longest")
    private val around = tables.int("around")

    /**
     * Return the raw text and each other reading of it that is language; the guard judges by the worst of them.
     * They are four at most, and two of a long text: itself and what else can be read in it.
     */
    fun forms(text: String): List<Form> {
        val raw = Form.raw(text)
        val isLong = raw.whole.length > long
        val plain = plain(raw)
        var reading = raw
        val readings = arrayListOf(raw, plain)
        for (layer in 0 until layers) {
            val shown = reading.edited(decoder.hidden(reading.text))
            val bare = if (shown === raw) plain else plain(shown)
            reading = bare.edited(decoder.encoded(bare.text))
            readings.add(reading)
            if (reading === plain) break
            if (isLong) reading = reading.excerpt(raw, block)
        }
        val counted = if (isLong) listOf(raw, readings.last().excerpt(raw, block)) else readings
        // Spaces alone make no other reading.
        return counted.filter { it.text != "" || it === raw }.distinctBy { split(it.text).joinToString(" ") }
    }

    /**
     * Return the plain spelling of a text together with where it comes from: compatibility characters, invisible characters,
     * look-alike letters and s p a c e d letters undone.
     */
    fun plainForm(text: String): Form = plain(Form.raw(text))

    private fun plain(form: Form): Form {
        val pictured = form.saying(translate(form.text, pictured))
        // Only when what is invisible is gone do some neighbours meet.
        val compatible = compatible(pictured)
        var shown = visible(compatible)
        shown = if (shown === compatible) shown else compatible(shown)
        shown = shown.saying(spaced(shown.text))
        shown = shown.edited(spacedWords(shown.whole))
        shown = shown.edited(evenlySpaced(shown.whole))
        val length = shown.whole.length
        val gaps = shown.whole.matches(SPACES).toList()
        shown = shown.edited(gaps.map { Edit(it.start, it.end, if (it.start > 0 && it.end < length) " " else "", "") })
        shown = latin(shown.edited(spacedLetters(shown.whole)))
        if (shown.text == form.text) return form
        return Form(shown.text, shown.starts, if (form.how == "raw") "plain" else form.how)
    }

    /** Apply NFKC to the characters that it changes, together with the marks that follow them, and to any with marks. */
    private fun compatible(form: Form): Form {
        if (isAscii(form.text)) return form
        val known = HashMap<Int, Char>()
        val kinds = StringBuilder()
        forEachPoint(form.text) { kinds.append(known.getOrPut(it) { kind(it) }) }
        if (kinds.all { it == '.' }) return form
        val edits = Text(kinds.toString()).matches(COMPATIBLE).map { found ->
            Edit(found.start, found.end, Unicode.normalize(form.whole.slice(found.start, found.end), Unicode.Form.NFKC), "")
        }
        return form.edited(edits.toList())
    }

    private fun kind(point: Int): Char {
        if (point <= 0x7f) return '.'
        val char = textOf(point)
        val said = Unicode.normalize(char, Unicode.Form.NFKC)
        val first = said.codePointAt(0)
        val joins = first in combining || first in 0x1160..0x11ff || first in joining
        // What takes many letters is a whole phrase and hides none.
        val changes = said != char && lengthOf(said) <= longest
        return KINDS[(if (changes) 1 else 0) + (if (joins) 2 else 0)]
    }

    /** Map look-alikes in words that mix scripts, and words of look-alikes alone unless their neighbours are foreign. */
    private fun latin(form: Form): Form {
        val text = translate(form.text, phonetic)
        val words = text.split(" ").toMutableList()
        val says = translate(text, lookalikes).split(" ")
        val differs = words.mapIndexed { at, word -> word != says[at] }
        for (at in words.indices) {
            if (!differs[at]) continue
            val near = maxOf(at - around, 0)..minOf(at + around, words.size - 1)
            // A letter alone is a word in few places, and a symbol in many.
            val word = lengthOf(words[at]) > 1 || near.count { differs[it] } > 1
            val foreign = near.any { says[it].any(::isOtherScript) }
            if (words[at].any { it in 'A'..'Z' || it in 'a'..'z' } || (word && !foreign)) words[at] = says[at]
        }
        return form.saying(words.joinToString(" "))
    }
}

private fun isOtherScript(char: Char): Boolean =
    char in '\u0370'..'\u058f' || char in '\u13a0'..'\u13fd' || char in '\uab70'..'\uabbf'

private fun spaced(text: String): String = String(CharArray(text.length) { if (isSpace(text[it].code)) ' ' else text[it] })

private fun visible(form: Form): Form {
    if (allPoints(form.text) { !isHidden(it) }) return form
    val kept = StringBuilder()
    val starts = IntArray(form.starts.size)
    var at = 0
    var count = 0
    forEachPoint(form.text) { point ->
        if (!isHidden(point)) {
            kept.appendCodePoint(point)
            starts[count++] = form.starts[at]
        }
        at += 1
    }
    return Form(kept.toString(), starts.copyOf(count), form.how)
}

/** Tell accents stacked on any letter, variation selectors and empty letters; the marks a script needs are not among them. */
private fun isHidden(point: Int): Boolean = when (point) {
    in 0x300..0x36f, 0x115f, 0x1160, in 0x180b..0x180f, in 0x1ab0..0x1aff, in 0x1dc0..0x1dff, in 0x20d0..0x20ff, 0x2800,
    in 0xfe00..0xfe0f, in 0xfe20..0xfe2f, in 0xe0100..0xe01ef,
    -> true
    else -> isInvisible(point) && !isSpace(point)
}
