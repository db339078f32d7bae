package breakfix.session

import breakfix.guard.Fields
import breakfix.guard.GuardFiles
import breakfix.guard.JsonError
import breakfix.guard.parseFields
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.security.MessageDigest

/** What keeps a bundle from being used, in a sentence: what, which file, the remedy. */
class BundleError(message: String, cause: Throwable? = null) : Exception(message, cause)

/**
 * A bundle on this machine, each file of its payload what the manifest says, none missing and none foreign.
 *
 * The manifest's id holds its list of files together; a signature says who made it. It knows no model, and reads the project
 * that lies beside a bundle's payload not at all.
 */
class Bundle private constructor(private val folder: File, private val manifest: Manifest) {
    val id: String get() = manifest.id

    /** Where the engine's files lie. */
    val model: File get() = File(folder, "$PAYLOAD/model")

    /** Where the guard's encoder lies. */
    val encoder: File get() = File(folder, "$PAYLOAD/guard/model.onnx")

    /** Return the guard's files, its messages in a language (as `de`) where it has them in that. Throws BundleError. */
    fun guard(language: String? = null): GuardFiles {
        val (tokenizer, calibration) = text("guard/tokenizer.json") to text("guard/calibration.json")
        val policy = text("guard/policy.json")
        if (read("guard/policy.json") { it.flag("shadow") }) {
            throw BundleError("$PAYLOAD/guard/policy.json is in shadow mode, which blocks nothing; install the app again")
        }
        return GuardFiles(tokenizer, calibration, policy, text("guard/tables.json"), language)
    }

    fun template(): ChatTemplate = read("model/chat.json", ::ChatTemplate)

    fun card(): SafetyCard = read("card.json", ::SafetyCard)

    private fun <T> read(name: String, made: (Fields) -> T): T = try {
        made(parseFields(name.substringAfterLast('/'), text(name)))
    } catch (error: JsonError) {
        throw BundleError(error.message.orEmpty(), error)
    }

    private fun text(name: String): String = File(folder, "$PAYLOAD/$name").readText()

    companion object {
        private const val VERIFIED = "verified.txt"

        /** Bytes: what is no larger is hashed whenever the bundle is opened, the guard's model among it. */
        private const val SMALL = 32L shl 20

        /**
         * Open a bundle. With a [key], 32 bytes in base64, its manifest has to be signed by it; an empty one demands nothing.
         * Every file is hashed the first time; later, as long as the manifest is the same, of the largest only the size counts.
         * Throws BundleError with the name of the file.
         */
        fun open(folder: File, key: String): Bundle = told {
            val manifest = Manifest.read(read(folder, MANIFEST), { read(folder, SIGNATURE) }, key)
            val verified = File(folder, VERIFIED)
            val isKnown = verified.isFile && verified.readText() == manifest.id
            for (file in File(folder, PAYLOAD).walkTopDown().filter { it.isFile }) {
                val name = file.relativeTo(folder).invariantSeparatorsPath
                if (name !in manifest.payload) throw BundleError("$name is no part of this bundle; remove it")
            }
            for ((name, entry) in manifest.payload) {
                val file = File(folder, name)
                if (!file.isFile) throw BundleError("$name is missing; install the app again")
                val isTrusted = isKnown && entry.bytes > SMALL
                val whole = file.length() == entry.bytes && (isTrusted || file.inputStream().use { entry.fits(it, null) })
                if (!whole) throw BundleError("$name was changed or cut short; install the app again")
            }
            if (!isKnown) verified.writeText(manifest.id)
            Bundle(folder, manifest)
        }

        /**
         * Copy a bundle from where only streams come from, such as an app's assets, to a folder, and open it. What is not whole
         * is never left there. A folder that holds this very bundle is opened as it is. Throws BundleError.
         */
        fun unpack(from: (String) -> InputStream, folder: File, key: String): Bundle {
            val bytes = told { from(MANIFEST).use(InputStream::readBytes) }
            val signature = { from(SIGNATURE).use(InputStream::readBytes) }
            val manifest = told { Manifest.read(bytes, signature, key) }
            if (File(folder, MANIFEST).let { it.isFile && it.readBytes().contentEquals(bytes) }) {
                try {
                    return open(folder, key)
                } catch (_: BundleError) {
                    // It is made anew.
                }
            }
            return told {
                val partial = File(folder.path + ".partial")
                // An older bundle is of no more use to this app, and there may be no room for both.
                for (old in listOf(partial, folder)) old.deleteRecursively()
                demandRoom(folder.absoluteFile.parentFile, manifest)
                for ((name, entry) in manifest.payload) copy(name, entry, from, partial)
                File(partial, MANIFEST).writeBytes(bytes)
                if (key != "") File(partial, SIGNATURE).writeBytes(signature())
                File(partial, VERIFIED).writeText(manifest.id)
                if (!partial.renameTo(folder)) throw BundleError("$folder cannot be made; free some storage and start again")
                open(folder, key)
            }
        }

        private fun demandRoom(place: File, manifest: Manifest) {
            place.mkdirs()
            val (needed, free) = manifest.payload.values.sumOf { it.bytes } to place.usableSpace
            if (free >= needed) return
            val room = "the bundle needs ${needed / MEGABYTE + 1} MB and ${free / MEGABYTE} are free"
            throw BundleError("$room; free some storage and start again")
        }

        private fun copy(name: String, entry: Entry, from: (String) -> InputStream, into: File) {
            val file = File(into, name)
            file.parentFile?.mkdirs()
            val source = try {
                from(name)
            } catch (error: IOException) {
                throw BundleError("$name is missing; install the app again", error)
            }
            // On the storage before anything says that it was verified.
            val whole = source.use { input ->
                file.outputStream().use { output -> entry.fits(input, output).also { output.fd.sync() } }
            }
            if (!whole) throw BundleError("$name was changed or cut short; install the app again")
        }

        private fun read(folder: File, name: String): ByteArray = File(folder, name).readBytes()

        private fun <T> told(act: () -> T): T = try {
            act()
        } catch (error: IOException) {
            val why = error.message
            throw BundleError("the bundle cannot be read or written ($why); free some storage and start again", error)
        }
    }
}

private const val MEGABYTE = 1_000_000
internal const val MANIFEST = "manifest.json"
internal const val SIGNATURE = "manifest.sig"
internal const val PAYLOAD = "payload"

/** One file of a manifest. */
internal class Entry(private val sha256: String, val bytes: Long) {
    /** Tell whether a stream holds this file, and copy it on the way if there is somewhere to. */
    fun fits(from: InputStream, into: OutputStream?): Boolean {
        val digest = MessageDigest.getInstance("SHA-256")
        val block = ByteArray(1 shl 16)
        var count = 0L
        while (true) {
            val read = from.read(block)
            if (read < 0) break
            count += read
            digest.update(block, 0, read)
            into?.write(block, 0, read)
        }
        return count == bytes && hex(digest.digest()) == sha256
    }
}

private const val DIGITS = "0123456789abcdef"

internal fun hex(bytes: ByteArray): String =
    bytes.joinToString("") { byte -> "${DIGITS[byte.toInt() shr 4 and 15]}${DIGITS[byte.toInt() and 15]}" }
