package breakfix.guard

import java.util.regex.Pattern

/**
 * One encoder pass over a window of a text gives its scores.
 *
 * Knows nothing of policies, nor of what runs the encoder.
 */

/** The model's own probabilities of one window: token ids and types in, one number for each head out. May throw. */
fun interface Encoder {
    fun heads(ids: LongArray, types: LongArray): DoubleArray
}

/** What the classifier thinks of one window, and which characters of the text it holds. */
internal data class Scores(
    val unsafe: Double,
    val jailbreak: Double,
    val hazard: String,
    val refusal: Double,
    val start: Int,
    val end: Int,
)

/** A text to judge: a user's prompt, or a model's answer together with the prompt. */
internal class Passage(val prompt: String, val answer: String? = null) {
    val rail: Rail get() = if (answer == null) Rail.INPUT else Rail.OUTPUT
}

/** One model input. */
internal class Window(
    val ids: LongArray,
    val types: LongArray,
    val start: Int,
    val end: Int,
    /** What of one script goes unread, less what is read of it, in weighed bytes; of the worst. */
    val unread: Int,
)

/** Calibrated thresholds and temperatures. Throws JsonError for what is none. */
internal class Calibration(card: Fields, policy: Policy, categories: List<String>) {
    private val input = card.fields("temperatures").number("input")
    private val output = card.fields("temperatures").number("output")
    val jailbreak = card.fields("temperatures").number("jailbreak")
    private val thresholds: Map<Rail, Map<String, Double>>

    init {
        if (!(input > 0 && output > 0 && jailbreak > 0)) throw JsonError("a temperature is none; make the bundle again")
        thresholds = Rail.values().associateWith { rail ->
            val level = card.fields("thresholds").fields(rail.key).numbers(policy.level)
            categories.forEach { probability("calibration.thresholds.$rail.$it", level[it] ?: Double.NaN) }
            level
        }
    }

    fun temperature(rail: Rail): Double = if (rail == Rail.INPUT) input else output

    /** Return the threshold of a category at the policy's level. Throws GuardError where there is none. */
    fun threshold(rail: Rail, category: String): Double =
        thresholds[rail]?.get(category) ?: throw GuardError("$category has no threshold; make the bundle again")
}

/** Anything that scores passages. */
internal fun interface Scorer {
    /** Return the scores of every window of each passage, at least one; throws where it cannot. */
    fun score(passages: List<Passage>): List<List<Scores>>
}

internal class Classifier(
    private val encoder: Encoder,
    private val tokenizer: WordPieces,
    private val calibration: Calibration,
    tables: Fields,
) : Scorer {
    private val heads = tables.texts("heads")
    private val ownHeads = tables.int("own_heads")
    private val headOfRail = Rail.values().associateWith { tables.fields("head_of_rail").int(it.key) }
    private val refusal = heads.indexOf("refusal")
    private val jailbreak = heads.indexOf(JAILBREAK)
    private val window = tables.int("window")
    private val overlap = tables.int("overlap")
    private val promptShare = tables.int("prompt_share")
    private val mostWindows = tables.int("most_windows")
    private val mostUnread = tables.int("unread")
    private val leastLogOdds = tables.number("least_log_odds")
    private val first = tokenizer.id("[CLS]")
    private val last = tokenizer.id("[SEP]")

    init {
        if (refusal < 0 || jailbreak < 0 || ownHeads !in 1 until heads.size || headOfRail.values.any { it !in heads.indices }) {
            throw JsonError("the guard's tables name heads that its model has not; make the bundle again")
        }
    }

    /** Score every window of each passage; throws where it cannot, UnreadableText for a script that it cannot read. */
    override fun score(passages: List<Passage>): List<List<Scores>> = passages.map { passage ->
        val cut = windows(passage)
        if (cut.any { it.unread > mostUnread }) throw UnreadableText()
        cut.map { scores(run(it), passage.rail, it) }
    }

    /**
     * Return the model's own probabilities of a window. One row a pass: in a padded batch the int8 scales of one text would
     * depend on its neighbours.
     */
    fun run(window: Window): DoubleArray {
        val found = encoder.heads(window.ids, window.types)
        if (found.size != heads.size) throw GuardError("the guard's model gives other scores than it should")
        return found
    }

    /** Return the calibrated probabilities that a window is unsafe and an attack, and its likeliest hazard. */
    fun scores(found: DoubleArray, rail: Rail, window: Window): Scores {
        val hazards = found.drop(ownHeads)
        // What is no number is no proof of harmlessness.
        val hazard = hazards.indices.maxByOrNull { hazards[it].takeUnless(Double::isNaN) ?: throw GuardError(NO_NUMBER) }
        return Scores(
            unsafe = tempered(found[headOfRail.getValue(rail)], calibration.temperature(rail)),
            jailbreak = tempered(found[jailbreak], calibration.jailbreak),
            hazard = heads[ownHeads + (hazard ?: throw GuardError(NO_NUMBER))],
            refusal = found[refusal],
            start = window.start,
            end = window.end,
        )
    }

    /** Return the calibrated probability: its logit divided by the temperature. A score that is no number stays none. */
    private fun tempered(probability: Double, temperature: Double): Double {
        if (!(probability > 0 && probability < 1)) return probability
        val logOdds = (Math.log(probability) - Math.log1p(-probability)) / temperature
        return if (logOdds > leastLogOdds) 1 / (1 + Math.exp(-logOdds)) else 0.0
    }

    /**
     * Cut a passage into model inputs: [CLS] text [SEP], or [CLS] prompt [SEP] answer [SEP].
     *
     * Of a prompt that needs more than one, the first and the last line are read alone as well: a request often stands there,
     * before or after much else, and would be drowned by it.
     */
    fun windows(passage: Passage): List<Window> {
        val asked = tokenizer.encode(passage.prompt)
        if (passage.answer == null) {
            val parts = parts(asked.ids.size, window - 2)
            val ends = if (parts.size > 1) lineEnds(passage.prompt, asked.places, window - 2) else emptyList()
            return (parts + ends).map { window(asked, it, listOf(first)) }
        }
        val head = listOf(first) + asked.ids.take(promptShare) + last
        val said = tokenizer.encode(passage.answer)
        return parts(said.ids.size, window - 1 - head.size).map { window(said, it, head) }
    }

    private fun parts(count: Int, size: Int): List<Span> {
        val step = size - overlap
        val windows = (maxOf(count - overlap, 1) + step - 1) / step
        if (windows > mostWindows) throw GuardError("the text is too long to be checked whole; send it in smaller parts")
        return List(windows) { Span(it * step, minOf(it * step + size, count)) }
    }

    /** Return a part of a text behind its head: [CLS], or [CLS] prompt [SEP]. */
    private fun window(text: Encoded, part: Span, head: List<Long>): Window {
        val places = text.places.subList(part.start, part.end)
        val isAnswer = if (head.size > 1) 1L else 0L
        val ids = (head + text.ids.subList(part.start, part.end) + last).toLongArray()
        val types = LongArray(ids.size) { if (it < head.size) 0 else isAnswer }
        val unread = HashMap<String, Int>()
        for (counted in text.unread.subList(part.start, part.end)) {
            for ((script, bytes) in counted) unread[script] = (unread[script] ?: 0) + bytes
        }
        val start = places.firstOrNull()?.start ?: 0
        return Window(ids, types, start, places.lastOrNull()?.end ?: 0, unread.values.maxOrNull() ?: 0)
    }
}

private const val NO_NUMBER = "the classifier gave what is no probability; make the bundle again"
private val LINE = Pattern.compile("[^\\r\\n\\x0b\\f\\x1c-\\x1e\\x85\\u2028\\u2029]+")

/** Return which tokens are the first and the last line, where a line of so many tokens fits. */
private fun lineEnds(text: String, places: List<Span>, size: Int): List<Span> {
    val lines = Text(text).matches(LINE).filterNot { isSpaces(it.value) }.toList()
    val ends = if (lines.size > 1) listOf(lines.first(), lines.last()) else lines
    return ends.map { Span(firstFrom(places, it.start), firstFrom(places, it.end)) }
        .filter { it.start < it.end && it.end - it.start <= minOf(size, places.size - 1) }
}

/** Return the first token that begins at a place or after it. */
private fun firstFrom(places: List<Span>, start: Int): Int {
    var low = 0
    var high = places.size
    while (low < high) {
        val middle = (low + high) ushr 1
        if (places[middle].start < start) low = middle + 1 else high = middle
    }
    return low
}
