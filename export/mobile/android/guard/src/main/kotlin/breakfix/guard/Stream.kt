package breakfix.guard

/**
 * The output rail on text that is still being written: nothing is released that was not checked.
 *
 * Pieces may arrive in any sizes, or all at once: the checks are the same, and so is the verdict. A score over the threshold
 * holds the text back; a later check that reads all of it again may clear it, and the end confirms it. A score over the hard
 * threshold stops the answer at once. It knows no engine: pieces come in, checked text goes out.
 */
sealed class StreamEvent {
    abstract val verdict: Verdict

    /** Checked text, and how many characters (code points) of the answer, as the model wrote it, are shown with it. */
    data class Released(val text: String, val end: Int, override val verdict: Verdict) : StreamEvent()

    /** The end of an answer that must not go on: show the verdict's message. [keep] characters of what was shown stay. */
    data class Stopped(override val verdict: Verdict, val keep: Int) : StreamEvent()
}

/** What the rail asks of a guard. */
interface Judge {
    val policy: Policy

    /** Return the verdict on an excerpt of an answer. May throw. */
    fun judgeAnswer(prompt: String, excerpt: String): Verdict

    /** Return the verdict on personal data. May throw. */
    fun judgePii(rail: Rail, findings: List<Finding>): Verdict

    /** Return the verdict of a guard that could not judge. */
    fun refusal(rail: Rail, why: Throwable): Verdict

    /** Return the verdict as it counts outside. */
    fun published(verdict: Verdict): Verdict
}

internal class StreamLimits(tables: Fields) {
    /** Checks in a row over the threshold that confirm each other. */
    val mostHeld = tables.int("most_held")

    /** An answer that needs more checks is refused. */
    val mostChecks = tables.int("most_checks")

    /** Characters already shown that may tell what a number is. */
    val context = tables.int("context")

    /** Characters after which old ones are forgotten. */
    val buffer = tables.int("buffer")
}

/** The state of one answer. Places are counted from where `text` begins; `base` is where that is in the answer. */
class OutputRail internal constructor(private val judge: Judge, parts: GuardParts, private val prompt: String) {
    /** True once the answer is stopped. */
    var over = false
        private set
    private val rules = parts.rules
    private val limits = parts.stream
    private val checkpoints = parts.checkpoints
    private val text = Growing()
    private var base = 0
    private val scanner = Scanner(checkpoints)
    private var cleared = 0
    private var released = 0
    private var shown = 0
    private var keep = 0
    private var passed = listOf<Verdict>()
    private val held = ArrayList<Verdict>()
    private val findings = ArrayList<Finding>()
    private var passing: Verdict? = null
    private var spent = 0L
    private var started = 0L
    private var half = ""

    /** Take the next piece and return what it leads to. Half a surrogate pair at its end waits for the other half. */
    fun feed(piece: String): List<StreamEvent> {
        val whole = half + piece
        half = if (whole.isNotEmpty() && whole.last().isHighSurrogate()) whole.takeLast(1) else ""
        return step(whole.dropLast(half.length), final = false)
    }

    /** Take the end of the answer and return what it leads to. */
    fun finish(): List<StreamEvent> = step(half, final = true)

    private fun step(piece: String, final: Boolean): List<StreamEvent> {
        started = System.nanoTime()
        val events = ArrayList<StreamEvent>() // what was released before a failure was released
        try {
            text.add(piece)
            advance(final, events)
            forget()
        } catch (error: Throwable) {
            // Fail closed: no failure of any library may let a text through.
            events.add(stop(judge.refusal(Rail.OUTPUT, error)))
        }
        spent += System.nanoTime() - started
        return events
    }

    private fun advance(final: Boolean, events: MutableList<StreamEvent>) {
        while (passing == null && !over) check(scanner.next(text, final) ?: break, events)
        val left = released < text.length
        val passing = passing
        if (passing != null && left) {
            scanner.at = text.length
            events.add(show(text.length, text.slice(released), passing))
        } else if (final && held.isNotEmpty() && !over) {
            events.add(stop(worst(held)))
        } else if (final && left && !over) {
            release(text.length, true, events)
        }
    }

    private fun check(place: Int, events: MutableList<StreamEvent>) {
        if (scanner.found > limits.mostChecks) throw GuardError("the answer is too long to be checked whole")
        // Whatever is held back is read again, whole: only a check that reads it can clear it.
        val start = minOf(checkpoints.excerptStart(text, place), cleared)
        val judged = judge.judgeAnswer(prompt, text.slice(start, place))
        val at = base + start
        val seen = judged.copy(span = Span(judged.span.start + at, judged.span.end + at))
        if (seen.blocked) {
            held.add(seen)
            if (seen.hard || held.size >= limits.mostHeld) events.add(stop(worst(held)))
        } else {
            held.clear()
            cleared = place
            passed = passed + seen
            release(place, false, events)
        }
    }

    /** Release the text up to a place, but not an end of it that may become a finding with what comes next. */
    private fun release(place: Int, final: Boolean, events: MutableList<StreamEvent>) {
        val action = judge.policy.pii.action(Rail.OUTPUT)
        val before = released
        val found = if (action == Action.ALLOW) emptyList() else findPii(place)
        val end = if (action == Action.ALLOW) place else before + settled(place, found, final)
        val counted = found.filter { before + it.end <= end || action == Action.BLOCK }
        var said = text.slice(before, end)
        if (counted.isNotEmpty()) {
            val at = base + before
            val seen = judge.judgePii(Rail.OUTPUT, counted.map { it.copy(start = it.start + at, end = it.end + at) })
            if (seen.blocked) {
                events.add(stop(seen))
                return
            }
            if (action == Action.REDACT && !judge.policy.shadow) said = redact(said, counted)
            findings += seen.findings
            passed = passed + seen
        }
        passed = listOf(worst(passed))
        if (end == place && place < text.length && checkpoints.endsSentence(text, place)) keep = shown + lengthOf(said)
        events.add(show(end, said, outside(passed[0])))
    }

    /** Return the personal data in what is not yet released, counted from there; what stands before them is read too. */
    private fun findPii(place: Int): List<Finding> {
        val start = maxOf(released - limits.context, 0)
        val before = released - start
        return rules.find(text.slice(start, place)).filter { it.end > before }
            .map { it.copy(start = maxOf(it.start - before, 0), end = it.end - before) }
    }

    /** Return how much of what is not yet released may be, up to a place. */
    private fun settled(place: Int, found: List<Finding>, final: Boolean): Int {
        if (final) return place - released
        val inside = place >= text.length || !isSpace(text[place])
        return checkpoints.settled(text.slice(released, place), found, inside)
    }

    private fun show(end: Int, said: String, verdict: Verdict): StreamEvent {
        released = end
        shown += lengthOf(said)
        return StreamEvent.Released(said, base + end, verdict)
    }

    private fun stop(seen: Verdict): StreamEvent {
        val verdict = outside(seen)
        if (judge.policy.shadow) {
            passing = verdict
            return show(text.length, text.slice(released), verdict)
        }
        over = true
        return StreamEvent.Stopped(verdict, if (verdict.action == Action.REPLACE) 0 else keep)
    }

    private fun outside(verdict: Verdict): Verdict =
        judge.published(verdict.copy(findings = findings.toList(), milliseconds = (spent + System.nanoTime() - started) / 1e6))

    /** Keep no more of a long answer than later checks read, so that time and memory stay linear. */
    private fun forget() {
        if (text.length < limits.buffer) return
        val cut = minOf(released - limits.context, checkpoints.reach(text, scanner.at) - checkpoints.lookback)
        if (cut <= 0) return
        text.forget(cut)
        base += cut
        scanner.at -= cut
        cleared -= cut
        released -= cut
    }
}
