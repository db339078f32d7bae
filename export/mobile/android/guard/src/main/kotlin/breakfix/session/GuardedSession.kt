package breakfix.session

import breakfix.guard.Action
import breakfix.guard.Guard
import breakfix.guard.OutputRail
import breakfix.guard.StreamEvent
import breakfix.guard.Verdict
import breakfix.guard.redact
import java.util.concurrent.atomic.AtomicBoolean

/** What a turn leads to: any number of [Shown], then one of the others. */
sealed class TurnEvent {
    /** Checked text, to be shown behind what is shown already. */
    data class Shown(val text: String) : TurnEvent()

    /** The turn ends with the verdict's message; of what was shown [kept] stands and the rest is taken back. */
    data class Blocked(val verdict: Verdict, val kept: String) : TurnEvent()

    /** The answer is whole, or was stopped; [note] is there where the guard let a text pass and has something to tell. */
    data class Done(val note: Verdict?, /** Oldest turns that were dropped. */ val forgotten: Int) : TurnEvent()

    /** The question alone is too long for the model. */
    data object TooLong : TurnEvent()

    /** The engine broke off; what is shown was checked and stands. */
    data class Broken(val why: String) : TurnEvent()
}

/**
 * One guarded conversation: input rail, engine, output rail. Nothing is shown that was not checked.
 *
 * It draws nothing and stores nothing. One question at a time; [stop] may come from any thread.
 */
class GuardedSession(
    private val engine: Engine,
    private val guard: Guard,
    private val sampling: Sampling = Sampling(),
    private val system: String? = null,
) {
    private val turns = ArrayList<Message>()
    private val stopped = AtomicBoolean()
    private var forgotten = 0

    /** What the model will read before the next question. */
    val history: List<Message> get() = listOfNotNull(system?.let { Message(Role.SYSTEM, it) }) + turns

    /** Answer a question and tell what comes of it. A blocked turn leaves no history, a stopped one leaves what was shown. */
    fun ask(text: String, tell: (TurnEvent) -> Unit) {
        stopped.set(false)
        forgotten = 0
        val seen = guard.checkInput(text, turns.filter { it.role == Role.USER }.map { it.text })
        if (seen.blocked) {
            tell(TurnEvent.Blocked(seen, ""))
            return
        }
        val asked = if (seen.action == Action.REDACT) redact(text, seen.findings) else text
        answer(asked, notable(seen), tell)
    }

    /** Have the present answer end within one token; what was written is checked and stands. */
    fun stop() = stopped.set(true)

    /** Drop the newest question and its answer; returns the question, null where there is none. */
    fun undo(): String? {
        val asked = turns.indexOfLast { it.role == Role.USER }
        if (asked < 0) return null
        val question = turns[asked].text
        turns.subList(asked, turns.size).clear()
        return question
    }

    /** Drop all but the system message. */
    fun restart() = turns.clear()

    private fun answer(text: String, noted: Verdict?, tell: (TurnEvent) -> Unit) {
        val answer = Answer(guard.rail(text), tell)
        var why: String? = null
        try {
            stream(text, answer)
        } catch (_: ConversationTooLong) {
            tell(TurnEvent.TooLong)
            return
        } catch (error: EngineError) {
            why = error.message.orEmpty()
        }
        answer.finish()
        if (answer.isBlocked) return
        if (answer.shown != "") {
            turns.add(Message(Role.USER, text))
            turns.add(Message(Role.ASSISTANT, answer.shown))
        }
        tell(if (why != null) TurnEvent.Broken(why) else TurnEvent.Done(noted ?: answer.last?.let(::notable), forgotten))
    }

    /** Have the engine answer, without the oldest turns where all are too many. */
    private fun stream(text: String, answer: Answer) {
        val whole = turns.toList()
        while (true) {
            try {
                return engine.stream(history + Message(Role.USER, text), sampling) { piece ->
                    if (!stopped.get()) answer.take(piece)
                    !answer.isBlocked && !stopped.get()
                }
            } catch (error: ConversationTooLong) {
                if (forgetOldest() > 0) continue
                turns.clear()
                turns.addAll(whole)
                throw error
            }
        }
    }

    /** Drop the oldest quarter of the turns, at least one, for all that is kept is read anew; returns how many. */
    private fun forgetOldest(): Int {
        val asked = turns.indices.filter { turns[it].role == Role.USER }
        val count = minOf(maxOf(1, asked.size / 4), asked.size)
        turns.subList(0, asked.getOrElse(count) { turns.size }).clear()
        forgotten += count
        return count
    }
}

/** One answer on its way through the rail. */
private class Answer(private val rail: OutputRail, private val tell: (TurnEvent) -> Unit) {
    var shown = ""
        private set
    var last: Verdict? = null
        private set
    val isBlocked: Boolean get() = rail.over

    fun take(piece: String) = tell(rail.feed(piece))

    fun finish() {
        if (!rail.over) tell(rail.finish())
    }

    private fun tell(events: List<StreamEvent>) {
        for (event in events) {
            last = event.verdict
            when (event) {
                is StreamEvent.Released -> {
                    shown += event.text
                    if (event.text != "") tell(TurnEvent.Shown(event.text))
                }
                // The guard counts code points.
                is StreamEvent.Stopped ->
                    tell(TurnEvent.Blocked(event.verdict, shown.substring(0, shown.offsetByCodePoints(0, event.keep))))
            }
        }
    }
}

/** Return the verdict on a text that passed if the user should hear of it. */
private fun notable(verdict: Verdict): Verdict? = verdict.takeIf { it.action != Action.ALLOW || it.failed }
