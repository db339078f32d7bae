package breakfix.app

import android.app.Application
import android.os.Handler
import android.os.Looper
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateListOf
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.lifecycle.AndroidViewModel
import breakfix.guard.Action
import breakfix.guard.Rail
import breakfix.session.TurnEvent
import java.util.concurrent.Executors

/** One line of the chat. [note] stands below it: what the guard says, or what went wrong. */
data class Line(val isMine: Boolean, val text: String, val note: String = "")

/** What the screen shows. The model works on a thread of its own; nothing is stored, and all is gone with the process. */
class ChatViewModel(application: Application) : AndroidViewModel(application) {
    /** The model's name and card, once it is open. */
    var assistant: Assistant? by mutableStateOf(null)
        private set

    /** Why the app cannot be used, in a sentence. */
    var refusal by mutableStateOf("")
        private set

    /** An answer is being written. */
    var isBusy by mutableStateOf(false)
        private set

    /** The latest answer when it is whole, for those who hear the screen. */
    var announcement by mutableStateOf("")
        private set
    val lines = mutableStateListOf<Line>()
    private val worker = Executors.newSingleThreadExecutor()
    private val screen = Handler(Looper.getMainLooper())

    /** The assistant as the worker knows it, to be closed there. */
    private var opened: Assistant? = null

    init {
        worker.execute {
            try {
                val made = Assistant.open(application)
                opened = made
                screen.post { assistant = made }
            } catch (error: Throwable) {
                // Whatever keeps model or guard from opening, there is no chat without either.
                screen.post { refusal = error.message ?: error.javaClass.simpleName }
            }
        }
    }

    fun ask(question: String) {
        val session = assistant?.session ?: return
        if (isBusy || question.isBlank()) return
        isBusy = true
        lines.add(Line(isMine = true, question))
        lines.add(Line(isMine = false, ""))
        worker.execute {
            try {
                session.ask(question) { event -> screen.post { show(event) } }
            } catch (error: Throwable) {
                screen.post { show(TurnEvent.Broken(error.message.orEmpty())) }
            }
        }
    }

    fun stop() {
        assistant?.session?.stop()
    }

    fun restart() {
        if (isBusy) return
        lines.clear()
        worker.execute { opened?.session?.restart() }
    }

    private fun show(event: TurnEvent) {
        val line = lines.last()
        lines[lines.size - 1] = when (event) {
            is TurnEvent.Shown -> line.copy(text = line.text + event.text)
            is TurnEvent.Blocked -> line.copy(text = event.kept, note = blocked(line, event))
            is TurnEvent.Done -> line.copy(note = remarks(event))
            is TurnEvent.TooLong -> line.copy(note = text(R.string.too_long))
            is TurnEvent.Broken -> line.copy(note = text(R.string.broken))
        }
        if (event is TurnEvent.Shown) return
        isBusy = false
        announcement = lines.last().let { "${it.text} ${it.note}".trim() }
    }

    /** What to say of an answer that passed: not every verdict that lets a text pass has words of the policy's. */
    private fun remarks(event: TurnEvent.Done): String {
        val note = event.note
        val said = when {
            note == null -> ""
            note.message != "" -> note.message
            note.action != Action.REDACT -> text(R.string.warned)
            else -> text(if (note.rail == Rail.INPUT) R.string.redacted_question else R.string.redacted_answer)
        }
        val forgotten = if (event.forgotten > 0) text(R.string.forgotten) else ""
        return listOf(said, forgotten).filter { it != "" }.joinToString(" ")
    }

    private fun blocked(line: Line, event: TurnEvent.Blocked): String =
        if (event.kept == line.text) event.verdict.message else "${event.verdict.message} ${text(R.string.taken_back)}"

    private fun text(name: Int): String = getApplication<Application>().getString(name)

    override fun onCleared() {
        stop()
        worker.execute { opened?.close() }
        worker.shutdown()
    }
}
