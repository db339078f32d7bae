package breakfix.guard

import breakfix.session.Bundle
import breakfix.session.BundleError
import breakfix.session.ConversationTooLong
import breakfix.session.Engine
import breakfix.session.EngineError
import breakfix.session.GuardedSession
import breakfix.session.Message
import breakfix.session.Role
import breakfix.session.Sampling
import breakfix.session.ScriptedEngine
import breakfix.session.TurnEvent
import breakfix.session.verifyEd25519
import java.io.File

/**
 * An app without a screen: it does what lines of standard input say, words apart by tabs, and ends each answer with a line `.`.
 * Scores come as they do for GuardVectors.
 */

private const val ONE_LINE = "\u2028"

private class Phone {
    private lateinit var bundle: Bundle
    private lateinit var session: GuardedSession
    private val answers = HashMap<String, String>()
    private val scripted = ScriptedEngine { conversation -> answers[conversation.last().text] ?: "I have no line for that." }
    private var stopAfter = Int.MAX_VALUE

    /** The scripted engine; some answers make it break or find no room. */
    private val engine = object : Engine {
        override fun stream(conversation: List<Message>, sampling: Sampling, take: (String) -> Boolean) {
            if (conversation.sumOf { it.text.length } > MOST_CHARACTERS) throw ConversationTooLong("it is too long")
            var words = 0
            scripted.stream(conversation, sampling) { word ->
                if (word.trim() == "(breaks)") throw EngineError("the engine broke")
                words += 1
                if (words > stopAfter) session.stop()
                take(word)
            }
        }
    }

    fun does(words: List<String>): List<String> = when (words[0]) {
        "open" -> opened { Bundle.open(File(words[1]), words.getOrElse(2) { "" }) }
        "unpack" -> opened { Bundle.unpack({ File(words[1], it).inputStream() }, File(words[2]), words.getOrElse(3) { "" }) }
        "ed25519" -> listOf(verifyEd25519(bytes(words[1]), bytes(words[2]), bytes(words[3])).toString())
        "chat" -> try {
            listOf("chat").also { begin(words.getOrNull(1)?.ifEmpty { null }, words.getOrNull(2)) }
        } catch (error: BundleError) {
            listOf("refused: ${error.message}")
        }
        "answer" -> listOf("answer").also { answers[words[1]] = words[2] }
        "stop after" -> listOf("stop after").also { stopAfter = words[1].toInt() }
        "ask" -> asked(words[1])
        "undo" -> listOf(session.undo() ?: "nothing")
        "restart" -> listOf("restart").also { session.restart() }
        "history" -> session.history.map { "${it.role} ${it.text}" }
        "render" -> render(words.drop(1))
        else -> error("no such order: ${words[0]}")
    }

    private fun opened(open: () -> Bundle): List<String> = try {
        bundle = open()
        listOf("opened ${bundle.id}")
    } catch (error: BundleError) {
        listOf("refused: ${error.message}")
    }

    /** Begin a conversation; the real classifier scores, and finds what names green fluff unsafe. */
    private fun begin(system: String?, language: String?) {
        val parts = GuardParts.read(bundle.guard(language), PIPE)
        val scorer = Scorer { passages ->
            parts.classifier.score(passages).zip(passages) { windows, passage ->
                val unsafe = "green fluff" in (passage.answer ?: passage.prompt)
                windows.map { if (unsafe) it.copy(unsafe = 1.0, hazard = "S9") else it }
            }
        }
        session = GuardedSession(engine, Guard(parts, scorer), Sampling(), system)
    }

    private fun asked(text: String): List<String> {
        val told = ArrayList<String>()
        session.ask(text) { event ->
            told.add(
                when (event) {
                    is TurnEvent.Shown -> "shown ${event.text}"
                    is TurnEvent.Blocked ->
                        event.verdict.run { "blocked $rail $category [${event.kept}] $message" }
                    is TurnEvent.Done -> "done ${event.note?.category} ${event.forgotten}"
                    is TurnEvent.TooLong -> "too long"
                    is TurnEvent.Broken -> "broken ${event.why}"
                },
            )
        }
        return told
    }

    private fun render(messages: List<String>): List<String> {
        val roles = mapOf("system" to Role.SYSTEM, "user" to Role.USER, "assistant" to Role.ASSISTANT)
        val conversation = messages.chunked(2).map { (role, text) -> Message(roles.getValue(role), parseJson(text) as String) }
        // As the code points, for a lone surrogate is no UTF-8.
        return listOf(pointsOf(bundle.template().render(conversation)).joinToString(" "))
    }

    private fun bytes(hex: String): ByteArray = hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

    private companion object {
        const val MOST_CHARACTERS = 400
    }
}

object Phones {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val phone = Phone()
        while (true) {
            val line = readlnOrNull() ?: return
            phone.does(line.split("\t")).forEach { println("- ${it.replace("\n", ONE_LINE)}") }
            println(".")
            System.out.flush()
        }
    }
}
