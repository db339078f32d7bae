package breakfix.session

import breakfix.guard.Fields
import breakfix.guard.JsonError
import breakfix.guard.parseFields
import java.io.IOException
import java.security.MessageDigest
import java.util.Base64

/** A bundle's manifest, its id fitting its files, and signed where that is demanded. It reads no file. */
internal class Manifest private constructor(val id: String, /** What the app carries. */ val payload: Map<String, Entry>) {
    companion object {
        private const val KIND = "bundle"
        private const val FORMAT = 1
        private const val REMEDY = "install the app again"
        private val NEEDED = listOf(
            "model/model.onnx", "model/genai_config.json", "model/tokenizer.json", "model/chat.json", "card.json",
            "guard/model.onnx", "guard/tokenizer.json", "guard/calibration.json", "guard/policy.json", "guard/tables.json",
        ).map { "$PAYLOAD/$it" }

        /** Read a manifest. Throws BundleError. */
        fun read(bytes: ByteArray, signature: () -> ByteArray, key: String): Manifest {
            if (key != "") checkSignature(bytes, signature, key)
            return try {
                of(parseFields(MANIFEST, String(bytes, Charsets.UTF_8)))
            } catch (error: JsonError) {
                throw BundleError("${error.message}", error)
            }
        }

        private fun of(manifest: Fields): Manifest {
            val (id, kind, files) = Triple(manifest.text("id"), manifest.text("kind"), manifest.fields("files"))
            if (kind != KIND) throw BundleError("$MANIFEST is of a $kind and no $KIND; $REMEDY")
            if (manifest.int("format") != FORMAT) throw BundleError("$MANIFEST is of another version; $REMEDY")
            val hashes = files.names.associateWith { files.fields(it).text("sha256") }
            for ((name, hash) in hashes) {
                if (isPlain(name) && isHash(hash)) continue
                throw BundleError("$MANIFEST lists $name, which is no file of a bundle; $REMEDY")
            }
            if (id != contentId(kind, hashes)) throw BundleError("$MANIFEST was edited: its id does not fit its files; $REMEDY")
            val lost = NEEDED.find { it !in hashes }
            if (lost != null) throw BundleError("$MANIFEST does not list $lost, which is needed; $REMEDY")
            val payload = hashes.filterKeys { it.startsWith("$PAYLOAD/") }
            return Manifest(id, payload.mapValues { (name, hash) -> Entry(hash, files.fields(name).long("bytes")) })
        }

        private fun checkSignature(bytes: ByteArray, signature: () -> ByteArray, key: String) {
            val written = try {
                String(signature(), Charsets.US_ASCII).trim()
            } catch (error: IOException) {
                throw BundleError("$SIGNATURE is missing, and this app takes signed bundles only; $REMEDY", error)
            }
            val isSigned = try {
                val decoder = Base64.getDecoder()
                verifyEd25519(decoder.decode(key.trim()), bytes, decoder.decode(written))
            } catch (error: IllegalArgumentException) {
                false
            }
            if (!isSigned) throw BundleError("$SIGNATURE is not of this manifest by the key that this app trusts; $REMEDY")
        }

        /** A name that stays inside the bundle, whatever reads it. */
        private fun isPlain(name: String): Boolean =
            name.split("/").all { part -> part.any { it != '.' } && part.all(::isPlain) }

        private fun isPlain(char: Char): Boolean = char in 'a'..'z' || char in 'A'..'Z' || char in '0'..'9' || char in "_.+@ -"

        private fun isHash(text: String): Boolean = text.length == 64 && text.all { it in '0'..'9' || it in 'a'..'f' }

        /** Return the id that an artifact of this kind has with these files: core/artifact.py, `content_id`. */
        private fun contentId(kind: String, hashes: Map<String, String>): String {
            // Names and hashes are plain ASCII, which JSON writes as it is.
            val listing = hashes.toSortedMap().entries.joinToString(", ") { (name, hash) -> "\"$name\": \"$hash\"" }
            return hex(MessageDigest.getInstance("SHA-256").digest("[\"$kind\", {$listing}]".toByteArray()))
        }
    }
}
