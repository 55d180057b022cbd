# SPDX-License-Identifier: Apache-2.0
# A Debian package, of preset package: cmake --workflow --preset package, or cpack in its build directory.
set(doc ${CMAKE_INSTALL_DATADIR}/doc/lct)
install(FILES packaging/copyright README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md DESTINATION ${doc})
install(FILES packaging/changelog DESTINATION ${doc})
install(FILES docs/comparison.md docs/design.md docs/faq.md docs/operations.md docs/threat-model.md
              docs/tutorial.md DESTINATION ${doc}/docs)
install(FILES packaging/lct.tmpfiles DESTINATION lib/tmpfiles.d RENAME lct.conf)
install(FILES packaging/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
        RENAME lct)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lct)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "lct maintainers <maintainers@lct.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
    GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/packaging/compress.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Who may use the TPM is in the group tss, which tpm-udev makes.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "openssl, tpm-udev")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "tpm2-tools, tpm2-abrmd")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/postinst
    ${CMAKE_SOURCE_DIR}/packaging/prerm ${CMAKE_SOURCE_DIR}/packaging/postrm)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "keys that stay in this machine's TPM, for programs that use OpenSSL 3")
set(CPACK_PACKAGE_DESCRIPTION
"An identity called lct:alice, whose private key is in the TPM 2.0, is a key
for every program that already uses OpenSSL 3: web servers, mail, databases,
openssl itself. This package has the provider, which OpenSSL does not load
until lct setup has been told to have it so, the command that makes, seals,
proves, rotates and ends identities, and lct-verify, which needs no TPM.")
include(CPack)
