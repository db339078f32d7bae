package breakfix.app

import android.content.Context
import breakfix.guard.Guard
import breakfix.session.Bundle
import breakfix.session.GuardedSession
import breakfix.session.SafetyCard
import java.io.File

/** Engine, guard and conversation of the bundle that the app carries, every file checked before it is opened. */
class Assistant private constructor(
    val card: SafetyCard,
    val session: GuardedSession,
    private val engine: GenAiEngine,
    private val encoder: OrtEncoder,
) : AutoCloseable {
    override fun close() {
        engine.close()
        encoder.close()
    }

    companion object {
        private const val FOLDER = "bundle"

        /**
         * Unpack the bundle on the first start, for its engine needs real files, and open it; this takes seconds.
         * Throws BundleError, GuardError or EngineError, each with a sentence for the user.
         */
        fun open(context: Context): Assistant {
            val unpacked = File(context.filesDir, FOLDER)
            val bundle = Bundle.unpack({ context.assets.open("$FOLDER/$it") }, unpacked, BuildConfig.SIGNING_KEY)
            val card = bundle.card()
            val encoder = OrtEncoder(bundle.encoder)
            val guard = Guard.open(bundle.guard(context.resources.configuration.locales[0].language), encoder)
            val engine = GenAiEngine(bundle.model, bundle.template())
            return Assistant(card, GuardedSession(engine, guard), engine, encoder)
        }
    }
}
