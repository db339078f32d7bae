package breakfix.guard

/**
 * One reading of a text, with the place in the raw text that each of its characters was read from.
 *
 * Knows how readings are edited and cut, not why.
 */
internal class Form(
    /** What is read. */
    val text: String,
    /** Where each character of it comes from; falling where the text runs backwards. */
    val starts: IntArray,
    /** raw, plain, or what was undone to read it: base64, leetspeak, base64+rot13 ... */
    val how: String,
) {
    /** The text by code points. */
    val whole: Text by lazy(LazyThreadSafetyMode.NONE) { Text(text) }

    /** Return the form with another text of the same length. */
    fun saying(other: String): Form = if (other == text) this else Form(other, starts, how)

    /** Return the span of the raw text that a span of this one was read from. */
    fun span(start: Int, end: Int): Span {
        var least = Int.MAX_VALUE
        var most = -1
        for (at in start until minOf(end, starts.size)) {
            least = minOf(least, starts[at])
            most = maxOf(most, starts[at])
        }
        return if (most < 0) Span(0, 0) else Span(least, most + 1)
    }

    /** Return the form with runs replaced, and with what was undone in its name; itself where there is nothing to do. */
    fun edited(edits: List<Edit>): Form {
        if (edits.isEmpty()) return this
        val pieces = StringBuilder()
        val places = Places()
        var at = 0
        for (edit in edits) {
            val says = Text(edit.text)
            pieces.append(whole.slice(at, edit.start)).append(edit.text)
            places.add(starts, at, edit.start)
            places.addSpread(starts.copyOfRange(edit.start, edit.end), says.length, edit.backwards)
            at = edit.end
        }
        pieces.append(whole.slice(at))
        places.add(starts, at, starts.size)
        return Form(pieces.toString(), places.all(), named(edits))
    }

    private fun named(edits: List<Edit>): String {
        val before = if (how == "raw" || how == "plain") emptyList() else how.split("+")
        val names = (before + edits.map { it.how }.filter { it != "" }).distinct()
        return if (names.isEmpty()) how else names.joinToString("+")
    }

    /** Return the blocks of this form that read otherwise than the raw text, and one on either side of each. */
    fun excerpt(raw: Form, size: Int): Form {
        val count = (starts.size + size - 1) / size
        val differs = List(count) { block ->
            val end = if ((block + 1) * size < starts.size) starts[(block + 1) * size] else raw.whole.length
            val written = raw.whole.slice(starts[block * size], end)
            val says = whole.slice(block * size, (block + 1) * size)
            written != says && split(written) != split(says)
        }
        val pieces = StringBuilder()
        val places = Places()
        var before = false
        for (block in 0 until count) {
            val kept = (maxOf(block - 1, 0)..minOf(block + 1, count - 1)).any { differs[it] }
            val start = block * size
            if (kept) {
                if (pieces.isNotEmpty() && !before) {
                    pieces.append('\n')
                    places.add(starts, start, start + 1)
                }
                pieces.append(whole.slice(start, start + size))
                places.add(starts, start, minOf(start + size, starts.size))
            }
            before = kept
        }
        return if (pieces.isEmpty()) raw else Form(pieces.toString(), places.all(), how)
    }

    companion object {
        fun raw(text: String): Form = Form(text, IntArray(lengthOf(text)) { it }, "raw")
    }
}

/** A span of a text: its first character, and the one behind its last, in code points. */
data class Span(val start: Int, val end: Int)

/** Places, one after the other. */
internal class Places {
    private var places = IntArray(64)
    private var count = 0

    fun add(from: IntArray, start: Int, end: Int) {
        val more = maxOf(end - start, 0)
        if (count + more > places.size) places = places.copyOf(maxOf(2 * places.size, count + more))
        if (more > 0) from.copyInto(places, count, start, end)
        count += more
    }

    /** Add the places of [size] characters that were read from these: the first from the first, the last from the last. */
    fun addSpread(from: IntArray, size: Int, backwards: Boolean) {
        if (backwards) from.reverse()
        val steps = maxOf(size - 1, 1)
        val spread = if (from.size == size) from else IntArray(size) { (from[(it.toLong() * (from.size - 1) / steps).toInt()]) }
        add(spread, 0, size)
    }

    fun all(): IntArray = places.copyOf(count)
}
