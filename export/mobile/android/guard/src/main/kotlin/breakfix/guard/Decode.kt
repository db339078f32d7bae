package breakfix.guard

/**
 * What is written in code: base64, hex, Morse, escapes, leetspeak, ciphers, each run read in place where it stands.
 *
 * Knows nothing of categories or models. A reading counts only if it is language, or once more in code that says something.
 */

/** The least characters of what may be written in code again. */
private const val LEAST_NESTED = 12

/** A run longer than this, broken into lines, goes on behind a space. */
private const val LINE = 40
private val IN_ORDER = compareBy<Edit>({ it.start }, { it.end })

internal class Decoder(tables: Fields, ciphers: Fields, private val language: Language) {
    private val ciphers = Ciphers(ciphers, language)
    private val leetspeak = Leetspeak(ciphers, language)
    private val piece = tables.int("piece")
    private val hidden = hiddenCodes(tables)
    private val plain = plainCodes(tables)

    private class Rest(val edits: List<Edit>, val text: String)

    /**
     * Return what must be read before anything is made plain: tags, variation selectors, Morse, upside-down letters.
     * What comes out may be written in code again, [nested] times.
     */
    fun hidden(text: String, nested: Int = 1): List<Edit> {
        val read = read(text, hidden, nested)
        return (read.edits + ciphers.upsideDown(read.text)).sortedWith(IN_ORDER)
    }

    /** Return what a plain text says in codes, ciphers and leetspeak, in order and without overlaps. */
    fun encoded(text: String, nested: Int = 1): List<Edit> {
        val read = read(text, plain, nested)
        val found = leetspeak.read(read.text)
        return (read.edits + found + ciphers.read(blanked(Text(read.text), found))).sortedWith(IN_ORDER)
    }

    /** Return what these codes read, and the text with blanks in its place. */
    private fun read(text: String, readers: List<Reader>, nested: Int): Rest {
        val edits = ArrayList<Edit>()
        var rest = text
        for (reader in readers) {
            val whole = Text(rest)
            val found = found(whole, reader) { says -> language.isLanguage(says) || isCode(says, nested) }
            rest = blanked(whole, found)
            edits += found
        }
        return Rest(edits, rest)
    }

    private fun isCode(says: String, nested: Int): Boolean {
        if (nested < 1 || says.length < LEAST_NESTED || !says.all { it in ' '..'~' }) return false
        return hidden(says, nested - 1).isNotEmpty() || encoded(says, nested - 1).isNotEmpty()
    }

    private fun found(text: Text, reader: Reader, reads: Reads): List<Edit> {
        val found = ArrayList<Edit>()
        for (match in reader.runs(text, piece)) {
            val run = match.value
            val says = reader.read(run, reads) ?: continue
            val last = found.lastOrNull()
            // A long run was broken into lines, which plain spelling joined by spaces.
            if (last != null && last.end == match.start - 1 && last.end - last.start >= LINE && text[last.end] == ' '.code) {
                found[found.size - 1] = last.copy(end = match.start)
            }
            found.add(Edit(match.start, match.start + lengthOf(stripEnd(run)), says, reader.how))
        }
        return found
    }
}

private fun blanked(text: Text, edits: List<Edit>): String {
    if (edits.isEmpty()) return text.string
    val pieces = StringBuilder()
    var at = 0
    for (edit in edits.sortedWith(IN_ORDER)) {
        pieces.append(text.slice(at, edit.start)).append("\n".repeat(edit.end - edit.start))
        at = edit.end
    }
    return pieces.append(text.slice(at)).toString()
}
